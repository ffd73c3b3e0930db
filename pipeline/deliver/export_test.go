package deliver

// File is what tests put faults into.
type File = file

// SetOpen opens the file through wrap from now on.
func (f *FileDeadLetters) SetOpen(wrap func(File) File) {
	_ = f.Close()
	f.open = func(path string) (file, error) {
		opened, err := openFile(path)
		if err != nil {
			return nil, err
		}
		return wrap(opened), nil
	}
}
