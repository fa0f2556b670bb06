package p9srv

import "syscall"

// Handlers of the messages of 9P2000.L that make, move and remove names.

// made replies with the qid of a node that no fid is to hold.
func (r *request) made(n Node, err error) error {
	if err != nil {
		return err
	}
	r.out = AppendQID(r.out, n.QID())
	n.Release()
	return nil
}

// mkdir answers Tmkdir: dfid[4] name[s] mode[4] gid[4].
func mkdir(r *request) error {
	num := r.in.U32()
	name, nameErr := r.newName()
	mode, gid := r.in.U32(), r.in.U32()
	f, dir, err := r.directory(num, nameErr)
	if err != nil {
		return err
	}
	defer f.put()
	return r.made(dir.Mkdir(&r.ctx, name, mode&07777, gid))
}

// symlink answers Tsymlink: dfid[4] name[s] target[s] gid[4].
func symlink(r *request) error {
	num := r.in.U32()
	name, nameErr := r.newName()
	target, gid := r.in.String(), r.in.U32()
	f, dir, err := r.directory(num, nameErr)
	if err != nil {
		return err
	}
	defer f.put()
	if err := checkTarget(target); err != nil {
		return err
	}
	return r.made(dir.Symlink(&r.ctx, name, target, gid))
}

// checkTarget refuses what symlink(2) does.
func checkTarget(target string) error {
	switch {
	case target == "":
		return syscall.ENOENT
	case len(target) > 4095:
		return syscall.ENAMETOOLONG
	}
	for i := range len(target) {
		if target[i] == 0 {
			return syscall.EINVAL
		}
	}
	return nil
}

// mknod answers Tmknod: dfid[4] name[s] mode[4] major[4] minor[4] gid[4].
func mknod(r *request) error {
	num := r.in.U32()
	name, nameErr := r.newName()
	mode, major, minor, gid := r.in.U32(), r.in.U32(), r.in.U32(), r.in.U32()
	f, dir, err := r.directory(num, nameErr)
	if err != nil {
		return err
	}
	defer f.put()
	if mode&syscall.S_IFMT == 0 || mode&syscall.S_IFMT == syscall.S_IFREG {
		return r.mknodFile(dir, name, mode, gid)
	}
	return r.made(dir.Mknod(&r.ctx, name, mode, major, minor, gid))
}

// mknodFile makes an empty regular file.
func (r *request) mknodFile(dir Directory, name string, mode, gid uint32) error {
	n, file, err := dir.Create(&r.ctx, name, openWrite, mode&07777, gid)
	if err == nil {
		if err = file.Close(); err != nil {
			n.Release()
		}
	}
	return r.made(n, err)
}

// link answers Tlink: dfid[4] fid[4] name[s].
func link(r *request) error {
	num, target := r.in.U32(), r.in.U32()
	name, nameErr := r.newName()
	f, dir, err := r.directory(num, nameErr)
	if err != nil {
		return err
	}
	defer f.put()
	t, err := r.fid(target)
	if err != nil {
		return err
	}
	defer t.put()
	l, ok := dir.(Linker)
	if !ok {
		return syscall.EPERM
	}
	return l.Link(&r.ctx, t.node.Node, name)
}

// rename answers Trename: fid[4] dfid[4] name[s].
func rename(r *request) error {
	num, to := r.in.U32(), r.in.U32()
	name, nameErr := r.newName()
	d, _, err := r.directory(to, nameErr)
	if err != nil {
		return err
	}
	defer d.put()
	f, err := r.fid(num)
	if err != nil {
		return err
	}
	defer f.put()
	p, ok := f.node.Node.(Placed)
	switch {
	case f.at.depth == 0:
		return syscall.EBUSY
	case !ok:
		return syscall.EOPNOTSUPP
	}
	return p.Move(&r.ctx, d.node.Node, name)
}

// renameat answers Trenameat: olddirfid[4] oldname[s] newdirfid[4] newname[s].
func renameat(r *request) error {
	num := r.in.U32()
	name, nameErr := r.newName()
	to := r.in.U32()
	newName, newErr := r.newName()
	f, dir, err := r.directory(num, nameErr)
	if err != nil {
		return err
	}
	defer f.put()
	d, _, err := r.directory(to, newErr)
	if err != nil {
		return err
	}
	defer d.put()
	rn, ok := dir.(Renamer)
	if !ok {
		return syscall.EOPNOTSUPP
	}
	return rn.Rename(&r.ctx, name, d.node.Node, newName)
}

// unlinkat answers Tunlinkat: dfid[4] name[s] flags[4].
func unlinkat(r *request) error {
	num := r.in.U32()
	name, nameErr := r.newName()
	flags := r.in.U32()
	f, dir, err := r.directory(num, nameErr)
	if err != nil {
		return err
	}
	defer f.put()
	return dir.Unlink(&r.ctx, name, flags)
}
