package launcher

import (
	"path/filepath"
	"slices"

	"caravan/dapr/launcher/infra"
	"caravan/dapr/launcher/manifest"
)

// MailProcess is the name of the process of the private mail server.
const MailProcess = infra.MailProcess

// MailSettings converts smtp://[user:password@]host:port into host, port, user and password. The error does not contain it.
func MailSettings(address string) (map[string]string, error) { return infra.MailSettings(address) }

// CheckMail refuses what is no mail server for Options.Mail. The error does not contain it.
func CheckMail(address string) error {
	_, err := infra.MailSettings(address)
	return err
}

// MailURL is the page of the private mail server, "" if there is none.
func (s *Stack) MailURL() string {
	for _, spec := range s.mail.Processes {
		return spec.URL
	}
	return ""
}

// MailServer is the mail server in use as smtp://host:port, without credentials. It is "" if no app sends e-mails.
func (s *Stack) MailServer() string { return s.mail.URL }

// sendsMail reports whether an app of the plan has the output binding for e-mails.
func (p *plan) sendsMail() bool {
	documents, err := manifest.ReadFolder(filepath.Join(p.Components, "email"))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(p.Apps, func(a *app) bool {
		return slices.ContainsFunc(documents, func(d manifest.Document) bool { return d.For(a.ID) })
	})
}
