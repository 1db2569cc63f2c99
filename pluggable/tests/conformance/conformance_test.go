// Package conformance runs Dapr's own conformance suite for state stores against components, with
// the client that sidecars use. CONFORMANCE_STORES is a JSON list of {name, socket, metadata}.
package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	contrib "github.com/dapr/components-contrib/state"
	suite "github.com/dapr/components-contrib/tests/conformance/state"
	pluggable "github.com/dapr/dapr/pkg/components/state"
	"github.com/dapr/kit/logger"
)

type storeUnderTest struct {
	Name     string            `json:"name"`
	Socket   string            `json:"socket"`
	Metadata map[string]string `json:"metadata"`
}

func TestConformance(t *testing.T) {
	runSuite(t, []string{"transaction", "etag", "first-write", "ttl", "actorStateStore"}, false)
}

// The suite checks ttlExpireTime only on stores that do not claim TTL, so this hides the claim.
func TestExpireTime(t *testing.T) {
	runSuite(t, []string{"transaction", "etag", "first-write", "actorStateStore"}, true)
}

func runSuite(t *testing.T, operations []string, hideTTL bool) {
	var stores []storeUnderTest
	if err := json.Unmarshal([]byte(os.Getenv("CONFORMANCE_STORES")), &stores); err != nil || len(stores) == 0 {
		t.Fatalf("CONFORMANCE_STORES names no stores (%v)", err)
	}
	for _, each := range stores {
		t.Run(each.Name, func(t *testing.T) {
			config, err := suite.NewTestConfig(each.Name, operations, map[string]any{})
			if err != nil {
				t.Fatal(err)
			}
			client := pluggable.NewGRPCStateStore(logger.NewLogger("conformance"), each.Socket)
			store := &adapter{client: client, component: each.Name, hideTTL: hideTTL}
			suite.ConformanceTests(t, each.Metadata, store, config)
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// client is the part of Dapr's client for pluggable state stores that the suite needs; the client's
// type is not exported.
type client interface {
	contrib.Store
	contrib.TransactionalStore
	contrib.TransactionalStoreMultiMaxSize
	Ping() error
}

// adapter is Dapr's client with three changes that the suite requires.
type adapter struct {
	client
	component string
	hideTTL   bool
}

// Init adds the Component's name, by which a process distinguishes its instances. The suite sets
// none.
func (a *adapter) Init(ctx context.Context, metadata contrib.Metadata) error {
	metadata.Name = a.component
	return a.client.Init(ctx, metadata)
}

// Ping has the signature that the suite expects; the client's takes no context.
func (a *adapter) Ping(context.Context) error {
	return a.client.Ping()
}

func (a *adapter) Features() []contrib.Feature {
	features := slices.Clone(a.client.Features())
	return slices.DeleteFunc(features, func(each contrib.Feature) bool { return a.hideTTL && each == contrib.FeatureTTL })
}

// BulkSet and BulkDelete are passed on unchanged. Dapr's protocol returns one error for them, while
// the suite expects one per failed key. The component names these keys in its error's text.
func (a *adapter) BulkSet(ctx context.Context, requests []contrib.SetRequest, options contrib.BulkStoreOpts) error {
	keys := make([]string, len(requests))
	for i, each := range requests {
		keys[i] = each.Key
	}
	return perKey(a.client.BulkSet(ctx, requests, options), keys)
}

func (a *adapter) BulkDelete(
	ctx context.Context, requests []contrib.DeleteRequest, options contrib.BulkStoreOpts,
) error {
	keys := make([]string, len(requests))
	for i, each := range requests {
		keys[i] = each.Key
	}
	return perKey(a.client.BulkDelete(ctx, requests, options), keys)
}

func perKey(err error, keys []string) error {
	var mismatch *contrib.ETagError
	if !errors.As(err, &mismatch) {
		return err
	}
	var each []error
	for _, key := range keys {
		if strings.Contains(err.Error(), `key "`+key+`"`) {
			each = append(each, contrib.NewBulkStoreError(key, mismatch))
		}
	}
	return errors.Join(each...)
}
