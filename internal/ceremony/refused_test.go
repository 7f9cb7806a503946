package ceremony_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"example.com/bailiwick/internal/ceremony"
	"example.com/bailiwick/internal/policy"
	"example.com/bailiwick/internal/publish/publishtest"
	"example.com/bailiwick/internal/pypi"
	"example.com/bailiwick/tuf"
	"example.com/bailiwick/tuf/key"
	"example.com/bailiwick/tuf/repo"
)

// twins are one key under two ids.
func twins(t *testing.T) (*key.Public, *key.Public) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a, err := key.FromCrypto(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	b, err := key.New("ecdsa-sha2-nistp256", a.Scheme(), a.Value())
	if err != nil || a.ID() == b.ID() {
		t.Fatalf("%v, or the twins have one id", err)
	}
	return a, b
}

func plainProject(t *testing.T, name string) pypi.Project {
	t.Helper()
	p, err := pypi.ParseProject(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestJudgeRefusesRequests: what is wrong with a request as a whole.
func TestJudgeRefusesRequests(t *testing.T) {
	w := newWorld(t)
	good := func() *ceremony.Request {
		return w.request("flask", release(t, "flask-3.tar.gz"), w.alice, w.bob)
	}
	w.complete(good(), "flask-3.tar.gz")
	for name, c := range map[string]struct {
		edit func(r *ceremony.Request)
		want ceremony.Reason
	}{
		"another repository":    {func(r *ceremony.Request) { r.Repository[3] ^= 1 }, ceremony.Foreign},
		"from the future":       {func(r *ceremony.Request) { r.Created, r.Expires = r.Created.Add(day), r.Expires.Add(day) }, ceremony.Expired},
		"too old":               {func(r *ceremony.Request) { r.Created, r.Expires = r.Created.Add(-day), r.Expires.Add(-day) }, ceremony.Expired},
		"for too long":          {func(r *ceremony.Request) { r.Expires = r.Created.Add(31 * day) }, ceremony.Expired},
		"ending before it":      {func(r *ceremony.Request) { r.Expires = r.Created.Add(-time.Hour) }, ceremony.Expired},
		"unknown kind":          {func(r *ceremony.Request) { r.Kind = "takeover" }, ceremony.Malformed},
		"claim again":           {func(r *ceremony.Request) { r.Kind = ceremony.Claim }, ceremony.Claimed},
		"release with keys":     {func(r *ceremony.Request) { r.Threshold = 1 }, ceremony.Malformed},
		"no payload":            {func(r *ceremony.Request) { r.Payloads = nil }, ceremony.Malformed},
		"two payloads":          {func(r *ceremony.Request) { r.Payloads = append(r.Payloads, r.Payloads[0]) }, ceremony.Malformed},
		"no base":               {func(r *ceremony.Request) { r.Bases = map[tuf.RoleName]int64{"x": 1} }, ceremony.Malformed},
		"stale":                 {func(r *ceremony.Request) { r.Bases["project.flask"]-- }, ceremony.Stale},
		"ahead":                 {func(r *ceremony.Request) { r.Bases["project.flask"]++ }, ceremony.Stale},
		"the role of another":   {rename("project.plain"), ceremony.Outside},
		"a role of the index":   {rename("targets"), ceremony.Outside},
		"a bin":                 {rename("unclaimed-0"), ceremony.Outside},
		"a sub-role of another": {rename("project.plain.ci"), ceremony.Outside},
		"a note of two lines":   {func(r *ceremony.Request) { r.Note = "a\nb" }, ceremony.Malformed},
		"a foreign key signs":   {func(r *ceremony.Request) { w.add(r, "", w.mallory) }, ceremony.ForeignKey},
		"the sub-role's key":    {func(r *ceremony.Request) { w.add(r, "", w.ci) }, ceremony.ForeignKey},
		"the recovery key":      {func(r *ceremony.Request) { w.add(r, "", w.eve) }, ceremony.ForeignKey},
		"the registry key":      {func(r *ceremony.Request) { w.add(r, "", w.online[policy.KeyRegistry]) }, ceremony.ForeignKey},
		"a signature that is wrong": {func(r *ceremony.Request) {
			r.Payloads[0].Signatures[1].Sig[7] ^= 1
		}, ceremony.BadSignature},
		"one key's signature under another's id": {func(r *ceremony.Request) {
			r.Payloads[0].Signatures[1].Sig = r.Payloads[0].Signatures[0].Sig
		}, ceremony.BadSignature},
		"one key twice": {func(r *ceremony.Request) {
			r.Payloads[0].Signatures[1] = r.Payloads[0].Signatures[0]
		}, ceremony.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			c.edit(r)
			_, err := w.judge(r, "flask-3.tar.gz")
			wantReason(t, err, c.want)
		})
	}
	r := good()
	r.Project = plainProject(t, "plain")
	_, err := ceremony.Judge(r, w.standing("flask"), nil, publishtest.Start())
	wantReason(t, err, ceremony.Unknown)
	_, err = w.judge(w.request("plain", publishtest.Draft{Kind: ceremony.Release}, w.alice))
	wantReason(t, err, ceremony.NotClaimed)
	stale := wantReason(t, func() error { r := good(); r.Bases["project.flask"] = 1; _, err := w.judge(r); return err }(), ceremony.Stale)
	if stale.Version != 3 || stale.Role != "project.flask" {
		t.Errorf("stale against version %d of %s, want 3 of project.flask", stale.Version, stale.Role)
	}
}

func rename(role tuf.RoleName) func(r *ceremony.Request) {
	return func(r *ceremony.Request) {
		r.Payloads[0].Role = role
		r.Bases = map[tuf.RoleName]int64{role: 0}
	}
}

// TestJudgeRefusesContent: what is wrong with what a payload says, even if everybody signed it.
func TestJudgeRefusesContent(t *testing.T) {
	w := newWorld(t)
	dir := w.standing("flask").Layout.Dir(plainProject(t, "flask"))
	other := w.standing("flask").Layout.Dir(plainProject(t, "plain"))
	targets := func(s object) object { return s["targets"].(object) }
	file := func(s object, name string) object { return targets(s)[dir+"/"+name].(object) }
	custom := func(s object, name string) object { return file(s, name)["custom"].(object) }
	sub := func(s object) object { return s["delegations"].(object)["roles"].([]any)[0].(object) }
	keyOf := func(s object) object {
		for _, k := range s["delegations"].(object)["keys"].(object) {
			return k.(object)
		}
		return nil
	}
	for name, c := range map[string]struct {
		edit func(s object)
		want ceremony.Reason
	}{
		"root":                            {func(s object) { s["_type"] = "root" }, ceremony.Malformed},
		"version too high":                {func(s object) { s["version"] = 9 }, ceremony.Malformed},
		"version too low":                 {func(s object) { s["version"] = 3 }, ceremony.Malformed},
		"no role name":                    {func(s object) { delete(s, "role_name") }, ceremony.Malformed},
		"another role name":               {func(s object) { s["role_name"] = "project.plain" }, ceremony.Malformed},
		"expired":                         {func(s object) { s["expires"] = tuf.FormatTime(publishtest.Start().Add(-day)) }, ceremony.Dates},
		"expiring within the day":         {func(s object) { s["expires"] = tuf.FormatTime(publishtest.Start().Add(day)) }, ceremony.Dates},
		"living for ever":                 {func(s object) { s["expires"] = tuf.FormatTime(publishtest.Start().AddDate(3, 0, 2)) }, ceremony.Dates},
		"another specification":           {func(s object) { s["spec_version"] = "2.0.0" }, ceremony.Malformed},
		"a file of another project":       {func(s object) { targets(s)[other+"/plain-9.tar.gz"] = file(s, "flask-1.tar.gz") }, ceremony.Outside},
		"a file in another bin":           {func(s object) { targets(s)["ff/flask/flask-9.tar.gz"] = file(s, "flask-1.tar.gz") }, ceremony.Outside},
		"a file below the project":        {func(s object) { targets(s)[dir+"/x/flask-9.tar.gz"] = file(s, "flask-1.tar.gz") }, ceremony.Outside},
		"a file that is no distribution":  {func(s object) { targets(s)[dir+"/setup.exe"] = file(s, "flask-1.tar.gz") }, ceremony.Outside},
		"a file that nobody staged":       {func(s object) { targets(s)[dir+"/flask-9.tar.gz"] = file(s, "flask-1.tar.gz") }, ceremony.NotStaged},
		"a staged file of other length":   {func(s object) { file(s, "flask-3.tar.gz")["length"] = 1 }, ceremony.Altered},
		"a staged file of other hash":     {func(s object) { file(s, "flask-3.tar.gz")["hashes"] = object{"sha256": fmt.Sprintf("%064d", 0)} }, ceremony.Altered},
		"a staged file with two hashes":   {func(s object) { file(s, "flask-3.tar.gz")["hashes"].(object)["sha512"] = fmt.Sprintf("%0128d", 0) }, ceremony.Altered},
		"a staged file, otherwise":        {func(s object) { custom(s, "flask-3.tar.gz")["requires-python"] = ">=2" }, ceremony.Altered},
		"a staged file, vouched for":      {func(s object) { custom(s, "flask-3.tar.gz")["vouched-by"] = "index" }, ceremony.Altered},
		"a staged file with more to it":   {func(s object) { file(s, "flask-3.tar.gz")["more"] = 1 }, ceremony.Altered},
		"a published file of other hash":  {func(s object) { file(s, "flask-1.tar.gz")["hashes"] = object{"sha256": fmt.Sprintf("%064d", 0)} }, ceremony.Altered},
		"a published file of more bytes":  {func(s object) { file(s, "flask-1.tar.gz")["length"] = 2 }, ceremony.Altered},
		"a published file, otherwise":     {func(s object) { custom(s, "flask-1.tar.gz")["upload-time"] = "2001-01-01T00:00:00Z" }, ceremony.Altered},
		"a published file, unreadable":    {func(s object) { file(s, "flask-1.tar.gz")["custom"] = object{} }, ceremony.Altered},
		"vouching for one's own":          {func(s object) { custom(s, "flask-2.tar.gz")["vouched-by"] = "index" }, ceremony.Altered},
		"other recovery keys":             {func(s object) { delete(s, ceremony.RecoveryMember) }, ceremony.Key},
		"recovery keys that are none":     {func(s object) { s[ceremony.RecoveryMember] = object{} }, ceremony.Malformed},
		"a private recovery key":          {func(s object) { s[ceremony.RecoveryMember].([]any)[0].(object)["keyval"].(object)["private"] = "x" }, ceremony.PrivateKey},
		"one recovery key twice":          {func(s object) { l := s[ceremony.RecoveryMember].([]any); s[ceremony.RecoveryMember] = append(l, l[0]) }, ceremony.Key},
		"a sub-role of another project":   {func(s object) { sub(s)["name"] = "project.plain.ci" }, ceremony.Outside},
		"a sub-role named like the index": {func(s object) { sub(s)["name"] = "claimed" }, ceremony.Outside},
		"a sub-role of two parts":         {func(s object) { sub(s)["name"] = "project.flask.ci.x" }, ceremony.Outside},
		"a sub-role that nobody signed":   {func(s object) { sub(s)["name"] = "project.flask.new" }, ceremony.Malformed},
		"not terminating":                 {func(s object) { sub(s)["terminating"] = false }, ceremony.Outside},
		"a pattern outside":               {func(s object) { sub(s)["paths"] = []string{other + "/*.whl"} }, ceremony.Outside},
		"a pattern of everything":         {func(s object) { sub(s)["paths"] = []string{"*/*/*"} }, ceremony.Outside},
		"a pattern with a wild project":   {func(s object) { sub(s)["paths"] = []string{dir[:2] + "*/*"} }, ceremony.Outside},
		"a pattern below":                 {func(s object) { sub(s)["paths"] = []string{dir + "/x/*"} }, ceremony.Outside},
		"no pattern":                      {func(s object) { sub(s)["paths"] = []string{} }, ceremony.Outside},
		"prefixes":                        {func(s object) { delete(sub(s), "paths"); sub(s)["path_hash_prefixes"] = []string{"00"} }, ceremony.Outside},
		"bins": {func(s object) {
			d := s["delegations"].(object)
			delete(d, "roles")
			d["succinct_roles"] = object{"keyids": []string{}, "threshold": 1, "bit_length": 2, "name_prefix": "x"}
		}, ceremony.Outside},
		"a sub-role without keys":          {func(s object) { sub(s)["keyids"] = []string{} }, ceremony.Key},
		"a sub-role with an unknown key":   {func(s object) { sub(s)["keyids"] = []string{fmt.Sprintf("%064d", 0)} }, ceremony.Key},
		"a threshold that is too high":     {func(s object) { sub(s)["threshold"] = 2 }, ceremony.Key},
		"a key that is private":            {func(s object) { keyOf(s)["keyval"].(object)["private"] = "x" }, ceremony.PrivateKey},
		"a key that is private as a whole": {func(s object) { keyOf(s)["private"] = "x" }, ceremony.PrivateKey},
		"a key with more to it":            {func(s object) { keyOf(s)["comment"] = "x" }, ceremony.Key},
		"a key of an unknown kind":         {func(s object) { keyOf(s)["keytype"] = "x" }, ceremony.Key},
		"a key under another's id": {func(s object) {
			ks := s["delegations"].(object)["keys"].(object)
			ks[fmt.Sprintf("%064d", 1)] = keyOf(s)
		}, ceremony.Key},
		"more keys for a sub-role than sign it": {func(s object) {
			k := w.mallory.Public()
			s["delegations"].(object)["keys"].(object)[string(k.ID())] = object{
				"keytype": k.Type(), "scheme": k.Scheme(), "keyval": object{"public": k.Value()},
			}
			sub(s)["keyids"] = []string{string(k.ID())}
		}, ceremony.Malformed},
		"the registry key for a sub-role": {func(s object) {
			k := w.online[policy.KeyRegistry].Public()
			s["delegations"].(object)["keys"].(object)[string(k.ID())] = object{
				"keytype": k.Type(), "scheme": k.Scheme(), "keyval": object{"public": k.Value()},
			}
			sub(s)["keyids"] = []string{string(k.ID())}
		}, ceremony.Key},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.request("flask", release(t, "flask-3.tar.gz"))
			rewrite(t, &r.Payloads[0], c.edit)
			w.add(r, "", w.alice, w.bob)
			_, err := w.judge(r, "flask-3.tar.gz")
			wantReason(t, err, c.want)
		})
	}
	r := w.request("flask", release(t, "flask-3.tar.gz"))
	r.Payloads[0].Message = append([]byte{' '}, r.Payloads[0].Message...)
	w.add(r, "", w.alice, w.bob)
	_, err := w.judge(r, "flask-3.tar.gz")
	wantReason(t, err, ceremony.Malformed)
	_, err = w.judge(w.request("flask", release(t, "flask-2.zip"), w.alice, w.bob), "flask-2.zip")
	wantReason(t, err, ceremony.Altered) // version 2 has its source distribution
}

// TestJudgeKeepsWhatItDoesNotKnow: members of later versions of this program pass.
func TestJudgeKeepsWhatItDoesNotKnow(t *testing.T) {
	w := newWorld(t)
	r := w.request("flask", release(t, "flask-3.tar.gz"))
	rewrite(t, &r.Payloads[0], func(s object) { s["x-from-later"] = object{"a": []int{1}} })
	w.add(r, "", w.alice, w.bob)
	w.sign(r, "flask-3.tar.gz")
	if raw, ok := w.standing("flask").Base.Member("x-from-later"); !ok || string(raw) != `{"a":[1]}` {
		t.Errorf("the unknown member is %s", raw)
	}
	w.sign(w.request("flask", release(t, "flask-4.tar.gz"), w.alice, w.bob), "flask-4.tar.gz")
	if _, ok := w.standing("flask").Base.Member("x-from-later"); !ok {
		t.Error("the next version has lost the unknown member")
	}
}

// TestSubRoleContent: a sub-role lists what its patterns allow, and nothing else.
func TestSubRoleContent(t *testing.T) {
	w := newWorld(t)
	ci := func(names ...string) *ceremony.Request {
		d := publishtest.Draft{Kind: ceremony.Release, Only: true}
		s := publishtest.Sub{}
		for _, n := range names {
			s.Add = append(s.Add, staged(t, n))
		}
		d.Subs = map[string]publishtest.Sub{"ci": s}
		return w.request("flask", d, w.ci)
	}
	w.complete(ci("flask-3-py3-none-any.whl"), "flask-3-py3-none-any.whl")
	_, err := w.judge(ci("flask-3.tar.gz"), "flask-3.tar.gz")
	wantReason(t, err, ceremony.Outside)

	r := ci()
	rewrite(t, &r.Payloads[0], func(s object) {
		s["delegations"] = object{"keys": object{}, "roles": []any{object{
			"name": "project.flask.x", "keyids": []string{}, "threshold": 1, "terminating": true, "paths": []string{"a"},
		}}}
	})
	w.add(r, "", w.ci)
	_, err = w.judge(r)
	wantReason(t, err, ceremony.Outside)

	unknown := ci()
	unknown.Payloads[0].Role, unknown.Bases = "project.flask.docs", map[tuf.RoleName]int64{"project.flask.docs": 0}
	rewrite(t, &unknown.Payloads[0], func(s object) { s["role_name"], s["version"] = "project.flask.docs", 1 })
	w.add(unknown, "", w.ci)
	_, err = w.judge(unknown)
	wantReason(t, err, ceremony.Unknown)

	foreign := ci("flask-3-py3-none-any.whl")
	foreign.Payloads[0].Signatures = nil
	w.add(foreign, "", w.alice)
	_, err = w.judge(foreign, "flask-3-py3-none-any.whl")
	wantReason(t, err, ceremony.ForeignKey) // the lead has to delegate to itself first

	// The new keys of a sub-role have to sign what it lists already.
	r = w.request("flask", publishtest.Draft{Kind: ceremony.Release, Edit: repo.TargetsEdit{
		ReplaceDelegations: []repo.Delegation{{
			Role: "project.flask.ci", Authority: authority(t, w.mallory), Terminating: true,
			Paths: []string{w.standing("flask").Layout.Dir(plainProject(t, "flask")) + "/*.whl"},
		}},
	}}, w.alice, w.bob)
	_, err = w.judge(r)
	wantReason(t, err, ceremony.Malformed)
}

func authority(t *testing.T, s ...key.Signer) tuf.Authority {
	t.Helper()
	var keys []*key.Public
	for _, k := range s {
		keys = append(keys, k.Public())
	}
	a, err := tuf.NewAuthority(1, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestClaimRefuses: keys and files of a claim.
func TestClaimRefuses(t *testing.T) {
	w := newWorld(t)
	one, two := twins(t)
	draft := publishtest.Draft{Kind: ceremony.Claim, Keys: []key.Signer{w.alice}}
	for name, c := range map[string]struct {
		edit func(r *ceremony.Request)
		want ceremony.Reason
	}{
		"no keys":               {func(r *ceremony.Request) { r.Keys = nil }, ceremony.Key},
		"threshold 0":           {func(r *ceremony.Request) { r.Threshold = 0 }, ceremony.Key},
		"threshold 2 of 1":      {func(r *ceremony.Request) { r.Threshold = 2 }, ceremony.Key},
		"negative threshold":    {func(r *ceremony.Request) { r.Threshold = -1 }, ceremony.Key},
		"one key twice":         {func(r *ceremony.Request) { r.Keys = append(r.Keys, r.Keys[0]) }, ceremony.Key},
		"one key, two ids":      {func(r *ceremony.Request) { r.Keys = []*key.Public{one, two}; r.Threshold = 2 }, ceremony.Key},
		"the registry key":      {func(r *ceremony.Request) { r.Keys = append(r.Keys, w.online[policy.KeyRegistry].Public()) }, ceremony.Key},
		"the root key":          {func(r *ceremony.Request) { r.Keys = append(r.Keys, w.online[policy.KeyRoot].Public()) }, ceremony.Key},
		"the timestamp key":     {func(r *ceremony.Request) { r.Keys = append(r.Keys, w.online[policy.KeyTimestamp].Public()) }, ceremony.Key},
		"the offline bins' key": {func(r *ceremony.Request) { r.Keys = append(r.Keys, w.online[policy.KeyClaimed].Public()) }, ceremony.Key},
		"too many keys": {func(r *ceremony.Request) {
			for range ceremony.MaxKeys {
				r.Keys = append(r.Keys, newKey(t).Public())
			}
		}, ceremony.Key},
		"signing and recovering": {func(r *ceremony.Request) {
			rewrite(t, &r.Payloads[0], func(s object) {
				k := w.alice.Public()
				s[ceremony.RecoveryMember] = []any{object{"keytype": k.Type(), "scheme": k.Scheme(), "keyval": object{"public": k.Value()}}}
			})
		}, ceremony.Key},
		"a file left out": {func(r *ceremony.Request) {
			rewrite(t, &r.Payloads[0], func(s object) { s["targets"] = object{} })
		}, ceremony.Altered},
		"a file yanked": {func(r *ceremony.Request) {
			rewrite(t, &r.Payloads[0], func(s object) {
				for _, f := range s["targets"].(object) {
					f.(object)["custom"].(object)["yanked"] = true
				}
			})
		}, ceremony.Altered},
		"no payload for the project": {func(r *ceremony.Request) {
			r.Payloads[0].Role = "project.plain.ci"
			r.Bases = map[tuf.RoleName]int64{"project.plain.ci": 0}
		}, ceremony.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.request("plain", draft)
			c.edit(r)
			w.add(r, "", w.alice)
			_, err := w.judge(r)
			wantReason(t, err, c.want)
		})
	}
	adds := draft
	adds.Add = release(t, "plain-2.tar.gz").Add
	_, err := w.judge(w.request("plain", adds, w.alice), "plain-2.tar.gz")
	wantReason(t, err, ceremony.Altered)
}
