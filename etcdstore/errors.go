package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledger-once/ledger"
)

// A verdict says what an error of a request tells about its writes.
type verdict uint8

const (
	ambiguous verdict = iota // they may have happened, or still will
	denied                   // nothing was written; it needs a person
	again                    // nothing was written; the same request may do now
	noLease                  // nothing was written; a lease in it is gone
	tooMany                  // nothing was written; too many operations
	tooLarge                 // nothing was written; too many bytes
)

// verdictOf classifies err. Whatever is not known to be definite is ambiguous:
// NOSPACE among them, since the answer of an earlier proposal may be lost.
func verdictOf(err error) verdict {
	for _, e := range []struct {
		grpc error
		v    verdict
	}{
		{rpctypes.ErrGRPCPermissionDenied, denied},
		{rpctypes.ErrGRPCAuthFailed, denied},
		{rpctypes.ErrGRPCUserEmpty, denied},
		{rpctypes.ErrGRPCUserNotFound, denied},
		{rpctypes.ErrGRPCAuthNotEnabled, denied},
		{rpctypes.ErrGRPCInvalidAuthToken, again},
		{rpctypes.ErrGRPCAuthOldRevision, again},
		{rpctypes.ErrGRPCLeaseNotFound, noLease},
		{rpctypes.ErrGRPCTooManyOps, tooMany},
		{rpctypes.ErrGRPCRequestTooLarge, tooLarge},
		{rpctypes.ErrGRPCEmptyKey, denied},
		{rpctypes.ErrGRPCDuplicateKey, denied},
		{rpctypes.ErrGRPCInvalidClientAPIVersion, denied},
		{rpctypes.ErrGRPCNotSupportedForLearner, again}, // by another member
		{rpctypes.ErrGRPCRequestTooManyRequests, again}, // it was not proposed
	} {
		if sameError(err, e.grpc) {
			return e.v
		}
	}
	if isOversized(err) {
		return tooLarge
	}
	return ambiguous
}

// isNoSpace reports whether the cluster's quota is used up: it then takes
// no writes but deletions.
func isNoSpace(err error) bool { return err != nil && sameError(err, rpctypes.ErrGRPCNoSpace) }

// verdict is verdictOf, which does not know whether there is a user to log in
// again: clientv3 has done so by the time it returns the error.
func (s *Store) verdict(err error) verdict {
	if err != nil && s.client.Username != "" && sameError(err, rpctypes.ErrGRPCUserEmpty) {
		return again
	}
	return verdictOf(err)
}

// isOversized reports whether gRPC refused the request for its size: here, or on the
// server, which takes messages of its --max-request-bytes and 512 KiB. The answer to a write
// is small, and can not be meant.
func isOversized(err error) bool {
	if err == nil {
		return false
	}
	var e rpctypes.EtcdError
	code := status.Code(err)
	if errors.As(err, &e) {
		code = e.Code()
	}
	return code == codes.ResourceExhausted && strings.Contains(err.Error(), "message larger than max")
}

// sameError reports whether err is the server's error target, as gRPC or clientv3 tells it.
func sameError(err, target error) bool {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Error() == rpctypes.ErrorDesc(target) && e.Code() == status.Code(target)
	}
	s, ok := status.FromError(err)
	return ok && s.Code() == status.Code(target) && s.Message() == rpctypes.ErrorDesc(target)
}

// advice says what a person can do about err; "" if nothing better is known than the error.
func (s *Store) advice(err error) string {
	text := err.Error()
	switch {
	case sameError(err, rpctypes.ErrGRPCPermissionDenied):
		return fmt.Sprintf("the user may not use the keys below %q; grant its role: etcdctl role grant-permission ROLE readwrite --prefix=true %s", s.keys.root, s.keys.root)
	case sameError(err, rpctypes.ErrGRPCAuthFailed):
		return "the user name or the password is wrong"
	case sameError(err, rpctypes.ErrGRPCUserEmpty):
		return "the cluster wants a user name and a password; give both"
	case sameError(err, rpctypes.ErrGRPCAuthNotEnabled):
		return "a user name is given, but the cluster has no authentication enabled; enable it, or give none"
	case sameError(err, rpctypes.ErrGRPCNoSpace):
		return "the cluster's quota is used up; delete records (Guard.Reset), compact, defragment and disarm the alarm: docs/operations.md"
	case sameError(err, rpctypes.ErrGRPCTooManyOps):
		return "the server takes too few operations in a transaction; raise its --max-txn-ops to 128, the default"
	case sameError(err, rpctypes.ErrGRPCRequestTooLarge), isOversized(err):
		return "the record is larger than the server takes; raise its --max-request-bytes, or store less (Policy.Redact, ResultOmitted)"
	case sameError(err, rpctypes.ErrGRPCNoLeader), sameError(err, rpctypes.ErrGRPCTimeoutDueToLeaderFail):
		return "the cluster has no leader; see that a majority of its members runs"
	case strings.Contains(text, "certificate signed by unknown authority"), strings.Contains(text, "certificate is not trusted"):
		return "the server's certificate is not signed by the given CA; give the CA that signed it"
	case strings.Contains(text, "certificate has expired"):
		return "a certificate has expired, or is not valid yet; renew it, and compare the clocks"
	case strings.Contains(text, "tls: expired certificate"):
		return "the server says that the client certificate has expired; renew it, and compare the clocks"
	case strings.Contains(text, "certificate required"), strings.Contains(text, "bad certificate"), strings.Contains(text, "tls: unknown certificate authority"):
		return "the server wants a client certificate that its CA signed; give one with its key"
	case s.opts.TLS != nil && (strings.Contains(text, "broken pipe") || strings.Contains(text, "connection reset")):
		// Its reason may be lost with the connection.
		return "the server broke the connection off; if it does so each time, it may not accept the client certificate (missing, expired, or of another CA)"
	case strings.Contains(text, "x509: certificate is valid for"), strings.Contains(text, "doesn't contain any IP SANs"), strings.Contains(text, "x509: certificate is not valid for any names"):
		return "the server's certificate is for another name; use that name as the endpoint's host, or give it (server_name= in a URL, Options.TLS.ServerName)"
	case strings.Contains(text, "first record does not look like a TLS handshake"), strings.Contains(text, "authentication handshake failed: EOF"):
		return "the server does not speak TLS; use etcd:// or http://, or switch TLS on there"
	case strings.Contains(text, "error reading server preface"), strings.Contains(text, "connection closed before server preface"):
		return "the server closed the connection at once; it may want TLS: use etcds:// or https://"
	case strings.Contains(text, "connection refused"):
		return "nobody listens there; see that etcd runs, and that the endpoints are right"
	case strings.Contains(text, "no such host"):
		return "the host name of an endpoint is not known"
	}
	// clientv3 turns the status of a request that waited for a connection in vain into the context's error.
	if code := status.Code(err); code == codes.DeadlineExceeded || code == codes.Unavailable || errors.Is(err, context.DeadlineExceeded) {
		return "see that a majority of the cluster's members runs and can be reached from here"
	}
	return ""
}

// unavailable makes err match ledger.ErrUnavailable, with advice.
func (s *Store) unavailable(err error) error {
	if errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, ledger.ErrClosed) {
		return err
	}
	hint := s.advice(err)
	if hint != "" {
		hint += ": "
	}
	return fmt.Errorf("%w: etcd at %s: %s%w", ledger.ErrUnavailable, s.at(), hint, err)
}

// failure is the error of an operation: err of a request, or of the wait for
// one. settled reports whether no copy of the write can have happened, or still will.
func (s *Store) failure(err error, settled bool) error {
	switch {
	case errors.Is(err, ledger.ErrInvalid):
	case settled && (verdictOf(err) == tooMany || verdictOf(err) == tooLarge):
		err = fmt.Errorf("%w: %s: %w", ledger.ErrInvalid, s.advice(err), err)
	default:
		err = s.unavailable(err)
	}
	if settled && !errors.Is(err, ledger.ErrClosed) && !errors.Is(err, ledger.ErrNotWritten) {
		err = fmt.Errorf("%w (%w)", err, ledger.ErrNotWritten)
	}
	if !settled && errors.Is(err, ledger.ErrClosed) {
		return fmt.Errorf("%w: %v", ledger.ErrUnavailable, err) // an earlier copy may have been written
	}
	return err
}

// wrap names the operation and its subject.
func wrap(err error, verb string, id ledger.ID) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("etcdstore: %s %s: %w", verb, id, err)
}
