package resolve

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestALostQuestionIsAskedAgain checks that a question without an answer from DNS delays calls by half a second and
// does not make them fail.
func TestALostQuestionIsAskedAgain(t *testing.T) {
	notFound := &net.DNSError{Err: "no such host", Name: "orders-dapr", IsNotFound: true}
	for name, c := range map[string]struct {
		lost  int   // unanswered questions before the first answer
		with  error // the answer
		asked int
		took  time.Duration
	}{
		"answered":      {0, nil, 1, 0},
		"one lost":      {1, nil, 2, 500 * time.Millisecond},
		"two lost":      {2, nil, 3, 1500 * time.Millisecond},
		"DNS is away":   {9, nil, 3, 3500 * time.Millisecond},
		"no such name":  {0, notFound, 1, 0},
		"lost, no name": {1, notFound, 2, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked, began := 0, time.Now()
				d := &Directory{host: func(ctx context.Context, host string) ([]string, error) {
					if asked++; asked <= c.lost {
						<-ctx.Done()
						return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
					}
					if c.with != nil {
						return nil, c.with
					}
					return []string{"10.244.0.3"}, nil
				}}
				ctx, cancel := context.WithTimeout(t.Context(), lookTimeout)
				defer cancel()
				found, err := d.resolved([]string{"orders-dapr"}, "50002")(ctx)
				switch {
				case c.with != nil && !errors.Is(err, c.with):
					t.Errorf("%v, want %v", err, c.with)
				case c.with == nil && c.lost < len(attempts) && (err != nil || !slices.Equal(found, []string{"10.244.0.3:50002"})):
					t.Errorf("%v, %v", found, err)
				case c.lost >= len(attempts) && err == nil:
					t.Error("no error although DNS does not answer")
				}
				if took := time.Since(began); asked != c.asked || took != c.took {
					t.Errorf("%d questions in %s, want %d in %s", asked, took, c.asked, c.took)
				}
			})
		})
	}
}
