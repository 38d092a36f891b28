package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// Ports are chosen at random from here, which is below what Linux (32768 and
// up), macOS and Windows (49152 and up) hand out by themselves: a member that is
// down for a while does not lose its port to some outgoing connection.
const (
	firstPort = 20000
	lastPort  = 32767
	portTries = 1000
)

// addresses are where a member listens.
type addresses struct {
	client net.Listener
	peer   net.Listener // nil for an only member, who has nobody to talk to
}

func (a addresses) close() {
	if a.client != nil {
		a.client.Close()
	}
	if a.peer != nil {
		a.peer.Close()
	}
}

func closeAll(all []addresses) {
	for _, a := range all {
		a.close()
	}
}

// listen listens at the addresses of all members. New members are given theirs.
// Old ones may get another for clients, if somebody else has the one they had;
// by the one for peers the members know each other, and it can not change.
func (p *place) listen(ctx context.Context) (all []addresses, err error) {
	defer func() {
		if err != nil {
			closeAll(all)
			all = nil
		}
	}()
	changed := false
	for i := range p.note.Members {
		m := &p.note.Members[i]
		all = append(all, addresses{})
		a := &all[i]
		if p.note.Ready {
			if *a, err = p.listenAt(ctx, i); a.client != nil {
				continue
			}
			if a.peer == nil && len(p.note.Members) > 1 {
				return all, err
			}
		} else if len(p.note.Members) > 1 {
			if a.peer, err = listenAnywhere(); err != nil {
				return all, err
			}
			m.Peer = a.peer.Addr().String()
		}
		if a.client, err = listenAnywhere(); err != nil {
			return all, err
		}
		m.Client, changed = a.client.Addr().String(), true
	}
	if changed {
		err = p.save()
	}
	return all, err
}

// listenAt listens at the addresses that a member had before. With an error it
// may have listened at the one for peers.
func (p *place) listenAt(ctx context.Context, i int) (a addresses, err error) {
	m := p.note.Members[i]
	if len(p.note.Members) > 1 {
		if a.peer, err = listenOn(ctx, m.Peer); err != nil {
			return a, fmt.Errorf("member %d needs its address %s: stop what listens there: %w", i, m.Peer, err)
		}
	}
	if a.client, err = listenOn(ctx, m.Client); err != nil {
		return a, fmt.Errorf("member %d needs its address %s: stop what listens there: %w", i, m.Client, err)
	}
	return a, nil
}

// listenAgain listens at the addresses of members that are down.
func (p *place) listenAgain(ctx context.Context, members []int) (all []addresses, err error) {
	for _, i := range members {
		at, err := p.listenAt(ctx, i)
		all = append(all, at)
		if err != nil {
			closeAll(all)
			return nil, err
		}
	}
	return all, nil
}

// listenOn listens at an address that may be taken for a moment.
func listenOn(ctx context.Context, addr string) (l net.Listener, err error) {
	err = patiently(ctx, syscall.EADDRINUSE, func() error {
		l, err = net.Listen("tcp", addr)
		return err
	})
	return l, err
}

func onLoopback(addr string) bool {
	a, err := netip.ParseAddrPort(addr)
	return err == nil && a.Addr().IsLoopback()
}

func listenAnywhere() (l net.Listener, err error) {
	for range portTries {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no free port on 127.0.0.1 from %d to %d: %w", firstPort, lastPort, err)
}
