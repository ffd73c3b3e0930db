// Loaded before a peer (node -r): whatever it listens on is on 127.0.0.1, at a
// port that the kernel chooses. The port of the server without TLS goes to the
// file that PEER_PORT_FILE names, whole or not at all.
'use strict';
const fs = require('fs');
const net = require('net');
const tls = require('tls');

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const callback = args.find((a) => typeof a === 'function');
  this.once('listening', () => {
    if (this instanceof tls.Server) return;
    const file = process.env.PEER_PORT_FILE;
    fs.writeFileSync(file + '.part', String(this.address().port));
    fs.renameSync(file + '.part', file);
  });
  return listen.call(this, { host: '127.0.0.1', port: 0 }, ...(callback ? [callback] : []));
};
