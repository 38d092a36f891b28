package embedded_test

import (
	"context"
	"fmt"
	"log"
	"os"
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

	leader := cluster.Leader()
	cluster.Kill(leader)
	for cluster.Leader() < 0 {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("led by another one:", cluster.Leader() != leader)

	if err := cluster.Restart(ctx, leader); err != nil {
		log.Fatal(err)
	}
	fmt.Println("members:", len(cluster.Endpoints()))
	// Output:
	// led by another one: true
	// members: 3
}
