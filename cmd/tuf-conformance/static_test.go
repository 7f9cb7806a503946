package main_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiwick/internal/testrepo"
)

// TestStaticRepository is the suite's test of two copies of public repositories, with
// repositories of the same peculiarities: no key id is the hash of its key object,
// since members were added to keys; signatures that are still to be made are empty;
// and one starts in the middle of its chain and names a specification without a patch
// level.
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
			r := testrepo.New(t, testrepo.Options{Plain: !test.consistent, Threshold: 3})
			owned := func(keys map[string]any) {
				for id := range keys {
					at(keys, id)["x-keyowner"] = "@somebody"
				}
			}
			r.Edit["root"] = func(signed map[string]any) {
				signed["spec_version"], signed["x-expiry-period"], signed["x-signing-period"] = test.spec, 182, 31
				owned(at(signed, "keys"))
			}
			for _, role := range []string{"timestamp", "snapshot", "targets", "delegatedrole"} {
				r.Edit[role] = func(signed map[string]any) {
					signed["spec_version"], signed["x-expiry-period"] = test.spec, 14
					if ds, ok := signed["delegations"].(map[string]any); ok {
						owned(at(ds, "keys"))
					}
				}
			}
			r.Top["root"] = testrepo.Some("root", 3, 5)
			r.SignWith["root"] = testrepo.Keys("root", 3)
			for r.Versions["root"] <= test.roots {
				r.PublishRoot()
			}
			anchor := edited(t, r, "root", func(e map[string]any) {
				for _, k := range testrepo.Keys("root", 5)[3:] {
					e["signatures"] = append(e["signatures"].([]any), map[string]any{"keyid": string(k.ID()), "sig": ""})
				}
			})
			r.PublishRoot()
			r.Delegate("targets", testrepo.Delegation{Name: "delegatedrole", Paths: []string{"delegatedrole/*"}})
			r.AddTarget(test.owner, test.path, []byte("artifact"))
			r.Publish()
			edited(t, r, "timestamp", func(e map[string]any) { e["signatures"].([]any)[0].(map[string]any)["x-tool"] = "1.5e3" })
			c := newClient(t, r)
			c.init(anchor)
			c.refresh(0)
			c.download(0, test.path)
			c.artifacts("artifact")
		})
	}
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
