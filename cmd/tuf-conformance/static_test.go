package main_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/testrepo"
)

// TestStaticRepository is the suite's test of two copies of public repositories, with
// repositories of the same peculiarities: keys have members of their tool's, which count
// for their ids; one names hash algorithms, which do not; signatures that are still to be
// made are empty; the snapshot lists roles that nobody delegates to any more, with hashes,
// beside others without; and one starts in the middle of its chain and names a
// specification without a patch level.
func TestStaticRepository(t *testing.T) {
	for name, test := range map[string]struct {
		roots       int64
		spec        string
		consistent  bool
		path, owner string
	}{
		"large and old": {12, "1.0", true, "rekor.pub", "targets"},
		"delegated":     {1, "1.0.31", true, "delegatedrole/artifact", "delegatedrole"},
		"plain names":   {3, "1.0", false, "a/b/c", "targets"},
	} {
		t.Run(name, func(t *testing.T) {
			r := testrepo.New(t, testrepo.Options{Plain: !test.consistent})
			owned := func(name, member string) testrepo.Key {
				k := testrepo.NewKey(name)
				k.Object[member] = "somebody's"
				if test.spec == "1.0" {
					k.Object["keyid_hash_algorithms"] = []any{"sha256", "sha512"}
				}
				return k
			}
			var people []testrepo.Key
			for i := range 5 {
				people = append(people, owned(fmt.Sprint("person ", i), "x-keyowner"))
			}
			one := func(name, member string) testrepo.Holders {
				return testrepo.Holders{Keys: []testrepo.Key{owned(name, member)}, Threshold: 1}
			}
			r.Top["root"] = testrepo.Holders{Keys: people, Threshold: 3}
			r.Top["targets"] = r.Top["root"]
			r.Top["snapshot"] = one("online", "x-online-uri")
			r.Top["timestamp"] = r.Top["snapshot"]
			r.SignWith["root"] = append(testrepo.Keys("root", 1), people[:3]...)
			r.SignWith["targets"] = people[1:4]
			for _, role := range []string{"root", "timestamp", "snapshot", "targets", "delegatedrole"} {
				r.Edit[role] = func(signed map[string]any) {
					signed["spec_version"], signed["x-expiry-period"], signed["x-signing-period"] = test.spec, 182, 31
				}
			}
			snapshot := r.Edit["snapshot"]
			r.Edit["snapshot"] = func(signed map[string]any) {
				snapshot(signed)
				for _, gone := range []string{"rekor.json", "root.json"} {
					signed["meta"].(map[string]any)[gone] = map[string]any{
						"version": 2, "length": 797, "hashes": map[string]any{"sha256": strings.Repeat("0f", 32), "sha512": strings.Repeat("0f", 64)},
					}
				}
			}
			for r.Versions["root"] <= test.roots {
				r.PublishRoot()
			}
			anchor := unsigned(t, r, "root", people[3:])
			r.PublishRoot()
			r.Delegate("targets", testrepo.Delegation{
				Name: "delegatedrole", Paths: []string{"delegatedrole/*", "delegatedrole/*/*"}, Terminating: true,
				Holders: one("delegate", "x-keyowner"),
			})
			r.AddTargetCustom(test.owner, test.path, []byte("artifact"), map[string]any{"tool": map[string]any{"status": "Active"}})
			r.Publish()
			unsigned(t, r, "targets", []testrepo.Key{people[0], people[4]})
			edited(t, r, "timestamp", func(e map[string]any) { e["signatures"].([]any)[0].(map[string]any)["x-tool"] = "1.5e3" })
			c := newClient(t, r)
			c.init(anchor)
			c.refresh(0)
			c.download(0, test.path)
			c.artifacts("artifact")
		})
	}
}

// unsigned adds empty signatures of these keys, and serves that.
func unsigned(t *testing.T, r *testrepo.Repo, role string, keys []testrepo.Key) []byte {
	t.Helper()
	return edited(t, r, role, func(e map[string]any) {
		for _, k := range keys {
			e["signatures"] = append(e["signatures"].([]any), map[string]any{"keyid": string(k.ID()), "sig": ""})
		}
	})
}

// suite is every test of the public suite, as of August 2026, with its number of
// parameter cases: 113 in all.
var suite = map[string]int{
	"test_basic_refresh_requests": 1, "test_basic_refresh_trusted_data": 1, "test_implicit_refresh": 1,
	"test_invalid_initial_root": 1, "test_unsigned_initial_root": 1, "test_unsigned_metadata": 4,
	"test_url_and_metadata_version_mismatch": 3, "test_timestamp_content_changes": 1,
	"test_basic_metadata_hash_support": 1, "test_targets_hash_mismatch": 1, "test_snapshot_hash_mismatch": 1,
	"test_metadata_bytes_match": 1, "test_custom_fields": 1, "test_deprecated_keyid_hash_algorithms": 1,
	"test_snapshot_404": 1, "test_targets_404": 1, "test_timestamp_404": 1, "test_incorrect_metadata_type": 1,
	"test_faketime": 1, "test_root_expired": 1, "test_timestamp_expired": 1, "test_snapshot_expired": 1,
	"test_targets_expired": 1, "test_expired_local_root": 1, "test_expired_local_timestamp": 1,
	"test_client_downloads_expected_file": 1, "test_client_downloads_expected_file_in_sub_dir": 1,
	"test_repository_substitutes_target_file": 1, "test_multiple_changes_to_target": 1,
	"test_download_with_hash_algorithms": 3, "test_download_with_unknown_hash_algorithm": 1, "test_artifact_cache": 1,
	"test_snapshot_does_not_meet_threshold": 1, "test_snapshot_has_too_few_keys": 1, "test_duplicate_keys": 1,
	"test_duplicate_sig_keyids": 1, "test_keytype_and_scheme": 3, "test_invalid_sig_in_valid_metadata": 1,
	"test_unusual_role_name": 4, "test_new_timestamp_version_rollback": 1, "test_snapshot_rollback": 2,
	"test_targets_role_removal": 1, "test_targets_fast_forward_recovery": 1, "test_new_snapshot_fast_forward_recovery": 1,
	"test_new_timestamp_fast_forward_recovery": 1, "test_targets_rollback": 2, "test_static_repository": 2,
	"test_graph_traversal": 12, "test_targetfile_search": 9,
	"test_cached_role_is_verified_against_current_delegator": 1, "test_delegation_not_in_snapshot": 1,
	"test_root_rotation": 15, "test_non_root_rotations": 10, "test_repository_simulator": 3,
}

// TestEverySuiteTestIsPorted finds a Go test for every test of the suite, by its name.
func TestEverySuiteTestIsPorted(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if name := funcName(d); name != "" {
				have[strings.ToLower(name)] = true
			}
		}
	}
	total := 0
	for name, n := range suite {
		total += n
		if !have[strings.ReplaceAll(name, "_", "")] {
			t.Errorf("%s has no counterpart here", name)
		}
	}
	if total != 113 {
		t.Errorf("%d cases, the suite has 113", total)
	}
	if len(have) < len(suite) {
		t.Errorf("%d functions were read", len(have))
	}
}
