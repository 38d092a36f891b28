package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/ledger-once/ledger/etcdstore/embedded"
)

func ExampleStart() {
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	server, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	client, err := server.Client(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Put(ctx, "greeting", "hello"); err != nil {
		log.Fatal(err)
	}
	r, err := client.Get(ctx, "greeting")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", r.Kvs[0].Value)
	// Output: hello
}

// A cluster of three goes on without its leader.
func ExampleCluster() {
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	cluster, err := embedded.Cluster(ctx, 3, dir, &embedded.Options{
		Heartbeat: 20 * time.Millisecond,
		Election:  200 * time.Millisecond,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()

	// During an election nobody leads.
	elected := func() (leader int) {
		for leader = cluster.Leader(); leader < 0; leader = cluster.Leader() {
			time.Sleep(10 * time.Millisecond)
		}
		return leader
	}
	leader := elected()
	cluster.Kill(leader)
	fmt.Println("led by another one:", elected() != leader)

	if err := cluster.Restart(ctx, leader); err != nil {
		log.Fatal(err)
	}
	fmt.Println("members:", len(cluster.Endpoints()))
	// Output:
	// led by another one: true
	// members: 3
}

// shortTimers make elections quick, and leases of a second possible.
var shortTimers = &embedded.Options{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond}

func directory() string {
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

// exampleCluster is a cluster of one for the examples that leave it as they find it; TestMain stops it.
var exampleCluster = sync.OnceValue(func() *embedded.Servers {
	dir := directory()
	cluster, err := embedded.Cluster(context.Background(), 1, dir, shortTimers)
	if err != nil {
		log.Fatal(err)
	}
	embedded.AfterTests = func() {
		if err := cluster.Close(); err != nil {
			log.Fatal(err)
		}
		_ = os.RemoveAll(dir)
	}
	return cluster
})

func ExampleServer_Client() {
	server := exampleCluster().Member(0)
	client, err := server.Client(nil) // a *tls.Config, if the server has Options.TLS
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	lease, err := client.Grant(context.Background(), 1)
	fmt.Println(lease.TTL, err)
	// Output: 1 <nil>
}

func ExampleServer_Endpoints() {
	server := exampleCluster().Member(0)
	for _, endpoint := range server.Endpoints() {
		at, err := url.Parse(endpoint)
		fmt.Println(at.Hostname(), err) // nobody elsewhere can connect
	}
	// Output: 127.0.0.1 <nil>
}

func ExampleServer_Err() {
	server := exampleCluster().Member(0)
	fmt.Println(server.Err()) // it runs
	// Output: <nil>
}

// What was confirmed is there after the server was killed.
func ExampleServer_Kill() {
	ctx, cluster := context.Background(), exampleCluster()
	client, err := cluster.Client(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	_, err = client.Put(ctx, "greeting", "hello")
	fmt.Println(err)

	cluster.Member(0).Kill()
	if err := cluster.Restart(ctx, 0); err != nil {
		log.Fatal(err)
	}
	r, err := client.Get(ctx, "greeting")
	fmt.Println(r.Count, err)
	// Output:
	// <nil>
	// 1 <nil>
}

// One directory, one server.
func ExampleServer_Close() {
	dir := directory()
	defer os.RemoveAll(dir)
	server, err := embedded.Start(context.Background(), dir, shortTimers)
	if err != nil {
		log.Fatal(err)
	}
	_, err = embedded.Start(context.Background(), dir, shortTimers)
	fmt.Println(errors.Is(err, embedded.ErrInUse))
	fmt.Println(server.Close())
	// Output:
	// true
	// <nil>
}

// A program that can not go on without its server waits for its end.
func ExampleServer_Done() {
	dir := directory()
	defer os.RemoveAll(dir)
	server, err := embedded.Start(context.Background(), dir, shortTimers)
	if err != nil {
		log.Fatal(err)
	}
	go server.Kill()
	<-server.Done()
	fmt.Println(server.Err()) // a full disk, say; nil after Kill or Close
	// Output: <nil>
}

// The members of this cluster are to run in processes of their own.
func ExamplePrepare() {
	dir := directory()
	defer os.RemoveAll(dir)
	endpoints, err := embedded.Prepare(context.Background(), 1, dir, shortTimers) // 3, in earnest
	fmt.Println(len(endpoints), err)
	// Output: 1 <nil>
}

// Each process starts its own member, of a cluster that Prepare has made.
func ExampleMember() {
	dir := directory()
	defer os.RemoveAll(dir)
	endpoints, err := embedded.Prepare(context.Background(), 1, dir, shortTimers)
	if err != nil {
		log.Fatal(err)
	}
	member, err := embedded.Member(0, dir, shortTimers)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(member.Endpoints()[0] == endpoints[0])
	fmt.Println(member.Close())
	// Output:
	// true
	// <nil>
}

func ExampleServers_Client() {
	client, err := exampleCluster().Client(nil) // it knows all members
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	r, err := client.MemberList(context.Background())
	fmt.Println(len(r.Members), err)
	// Output: 1 <nil>
}

func ExampleServers_Endpoints() {
	fmt.Println(len(exampleCluster().Endpoints()))
	// Output: 1
}

func ExampleServers_Len() {
	fmt.Println(exampleCluster().Len())
	// Output: 1
}

func ExampleServers_Leader() {
	fmt.Println(exampleCluster().Leader())
	// Output: 0
}

// Restart replaces the server, and Member returns the new one.
func ExampleServers_Member() {
	cluster := exampleCluster()
	before := cluster.Member(0)
	before.Kill()
	if err := cluster.Restart(context.Background(), 0); err != nil {
		log.Fatal(err)
	}
	fmt.Println(cluster.Member(0) != before)
	// Output: true
}

// Nobody leads where no majority runs.
func ExampleServers_Kill() {
	cluster := exampleCluster()
	cluster.Kill(0)
	fmt.Println(cluster.Leader())
	if err := cluster.Restart(context.Background(), 0); err != nil {
		log.Fatal(err)
	}
	// Output: -1
}

func ExampleServers_Restart() {
	cluster := exampleCluster()
	cluster.Kill(0)
	fmt.Println(cluster.Restart(context.Background(), 0)) // of more members, a majority at once
	// Output: <nil>
}

func ExampleServers_Close() {
	dir := directory()
	defer os.RemoveAll(dir)
	cluster, err := embedded.Cluster(context.Background(), 1, dir, shortTimers)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(cluster.Close()) // the data stay in dir
	// Output: <nil>
}
