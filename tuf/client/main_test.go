package client_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"testing"

	"example.com/bailiwick/tuf/client"
)

// With one of these variables this program is not the tests, but a process that a test starts.
const (
	savesVariable   = "CLIENT_TEST_SAVES"   // the folder into which it saves until it is killed
	fetchesVariable = "CLIENT_TEST_FETCHES" // it fetches one file by way of the proxy of its environment
)

func TestMain(m *testing.M) {
	switch path := os.Getenv(savesVariable); {
	case path != "":
		end(saveForever(path))
	case os.Getenv(fetchesVariable) != "":
		end(fetchOnce())
	}
	os.Exit(m.Run())
}

func end(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// saveForever is the process that TestKill kills.
func saveForever(path string) error {
	f, err := client.OpenFolder(client.FolderConfig{Path: path})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for i := 0; ; i++ {
		unlock := func() {}
		if i%10 == 0 { // and leaves it to others most of the time
			if unlock, err = f.Lock(context.Background()); err != nil {
				return err
			}
		}
		data := bytes.Repeat(fmt.Appendf(nil, "%08d", i), 1000)
		for _, name := range []string{"timestamp.json", "roots/1.root.json", "project.flask.json"} {
			if err := f.Save(name, data); err != nil {
				return err
			}
		}
		unlock()
	}
}

// fetchOnce is what TestHTTPProxy needs a process for: the variables of the environment are
// read once in each.
func fetchOnce() error {
	const base = "http://repository.example.com/metadata"
	f, err := client.NewHTTPFetcher(client.HTTPConfig{Metadata: base, Targets: base, Retries: -1})
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := f.Metadata(context.Background(), "timestamp.json", 100)
	if err == nil && string(data) != "by way of the proxy" {
		err = fmt.Errorf("fetched %q", data)
	}
	return err
}
