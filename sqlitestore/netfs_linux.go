package sqlitestore

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Magic numbers of file systems whose locks do not reach all machines, or reach none:
// statfs(2), linux/magic.h and the kernel's fs/*/.
var networkFS = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x01021997: "9p",
	0x5346414f: "AFS",
	0x6b414653: "AFS",
	0x73757245: "Coda",
	0x564c:     "NCP",
	0x00c36400: "Ceph",
	0x0bd00bd0: "Lustre",
	0x47504653: "GPFS",
	0x7461636f: "OCFS2",
	0x01161970: "GFS2",
	0x19830326: "BeeGFS",
	0x786f4256: "VirtualBox shared folder",
	0xbacbacbc: "VMware shared folder",
}

const fuseMagic = 0x65735546

// What stands behind FUSE is told by the mount's type, fuse.NAME, alone. Others are let pass: a rootless
// container's overlay and a local ntfs-3g are FUSE too.
var networkFUSE = []string{"sshfs", "s3fs", "rclone", "gcsfuse", "goofys", "mountpoint-s3", "glusterfs", "ceph", "juicefs", "davfs", "curlftpfs", "blobfuse", "blobfuse2", "nfs", "smb", "gvfsd-fuse", "seaweedfs", "moosefs", "mfs", "lizardfs",
	"ceph-fuse", "vmhgfs-fuse", "grpcfuse", "osxfs"}

// networkFSOf names the network file system that holds dir, or returns "" where
// there is none or it can not be told.
func networkFSOf(dir string) string {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return ""
	}
	if uint32(fs.Type) != fuseMagic {
		return networkFS[uint32(fs.Type)]
	}
	var st unix.Stat_t
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || unix.Stat(dir, &st) != nil {
		return ""
	}
	return fuseName(string(mounts), fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev))))
}

// fuseName looks up the type of the mount of device in the text of proc_pid_mountinfo(5).
func fuseName(mounts, device string) string {
	for line := range strings.Lines(mounts) {
		head, tail, _ := strings.Cut(line, " - ")
		fields, types := strings.Fields(head), strings.Fields(tail)
		if len(fields) < 3 || len(types) < 1 || fields[2] != device {
			continue
		}
		if types[0] == "virtiofs" { // a directory of the host: its locks do not reach this machine, or not that one
			return types[0]
		}
		if name, ok := strings.CutPrefix(types[0], "fuse."); ok && slices.Contains(networkFUSE, name) {
			return name
		}
	}
	return ""
}
