package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"sidecast/config"
	"sidecast/relay/admin"
	"sidecast/relay/blackbox"
	"sidecast/relay/stats"
	"sidecast/relay/why"
)

// openBox opens the black box. The error is a [config.Faults] if its file cannot
// be used.
func (a *App) openBox() error {
	bytes, path := a.cfg.BlackboxBytes.Int(), a.cfg.BlackboxFile
	if bytes == 0 {
		return nil
	}
	box, err := blackbox.Open(bytes, path)
	if err != nil {
		var faults config.Faults
		faults.Add("BLACKBOX_FILE", err.Error(), boxRemedy(err, a.cfg.BlackboxBytes))
		return faults.Err()
	}
	a.box = box
	return nil
}

// boxRemedy returns what to do if the file of the black box cannot be used, or
// "" if the error says it.
func boxRemedy(err error, size config.Size) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "create the directory, and let the relay's user write there"
	case errors.Is(err, fs.ErrPermission):
		return "let the relay's user write to the file and its directory"
	case errors.Is(err, syscall.EROFS):
		return "set it to a path on a volume that the relay can write, in a container a volume that is mounted for this"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Sprintf("free %v there, or set SIDECAST_BLACKBOX_BYTES to less", size)
	case errors.Is(err, syscall.ELOOP):
		return "set it to the path of the file itself, not of a symbolic link"
	case errors.Is(err, syscall.EISDIR):
		return "set it to the path of a file, not of a directory"
	}
	return ""
}

// why answers questions about messages that clients received, or did not. It is
// nil if there are no records.
func (a *App) why() func(admin.WhyQuestion, io.Writer) error {
	if a.box == nil {
		return nil
	}
	return func(q admin.WhyQuestion, answer io.Writer) error {
		lines := why.Ask(a.box.NewReader(time.Time{}), why.Question{
			Channel: q.Channel, From: q.From, To: q.To, User: q.User, Session: q.Session,
		})
		out := json.NewEncoder(answer)
		for i := range lines {
			if err := out.Encode(&lines[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// recordRejected records that a client got no connection. The hub records those
// that are refused because of their login or channel.
func (a *App) recordRejected(reason stats.Rejection) {
	if reason != stats.RejectUnauthorized && reason != stats.RejectForbidden {
		a.box.Rejected(stats.Rejections[reason])
	}
}

// recordDropped records that a message was dropped because of its name.
func (a *App) recordDropped(name []byte, reason stats.DropReason) {
	a.box.Dropped(name, stats.DropReasons[reason])
}
