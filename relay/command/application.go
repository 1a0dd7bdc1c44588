package command

import (
	"context"
	"fmt"

	"sidecast/relay/auth"
	"sidecast/relay/source"
)

// CheckApplication asks the application as the relay would, with a cookie that it cannot know, and says what comes of it.
// It is no fault of the application to know nobody.
func CheckApplication(ctx context.Context, c auth.ApplicationConfig) (findings []source.Finding) {
	for _, p := range auth.Probe(ctx, c) {
		f := source.Finding{Subject: p.Setting, Text: fmt.Sprintf("the application answers %d to a cookie that it cannot know", p.Status)}
		switch {
		case p.Status == 0:
			f.Level, f.Text = source.LevelFail, p.Why
			f.Do = "start the application, or correct the URL; until then its users are told to try again"
		case p.Why != "":
			f.Level, f.Text = source.LevelWarn, f.Text+": "+p.Why
			f.Do = "correct the URL, or what answers there; until then its users are told to try again"
		case p.Opens:
			f.Level, f.Text = source.LevelWarn, f.Text+", and opens what it asks for"
			f.Do = "answer 401 to whom the application does not know, and 403 for channels that are not the user's"
		}
		findings = append(findings, f)
	}
	return findings
}
