package sitting

import (
	"bytes"
	"regexp"
)

// requestStart is how every request begins.
const requestStart = `{"bailiwick-sitting":`

// headSize is how much of a file decides what it is taken for.
const headSize = 32 << 10

// kindOf says what a file is that was handed over in place of another, and what it is for, judging by its beginning: people mix up
// files that lie on the same stick. Nothing depends on it but a sentence. It is empty for anything else.
func kindOf(head []byte) (kind, use string) {
	has := func(member string) bool { return bytes.Contains(head, []byte(`"`+member+`":`)) }
	switch {
	case bytes.HasPrefix(head, []byte("bailiwick-key ")):
		return "a key file", "it stays with its owner, who names it with --key"
	case bytes.HasPrefix(head, []byte(requestStart)):
		return "a signing request", "bailiwick-sign shows and signs it"
	case has("bailiwick-request"):
		return "a signing request of a project's maintainers", "bailiwick sign is for it"
	case has("bailiwick-invitation"):
		return "an invitation", "bailiwick-sign accept answers it"
	case has("bailiwick-acceptance"):
		return "an acceptance", "it is for whoever invited: bailiwick init --accepted, or bailiwick rotate --add"
	case has("bailiwick-sign"):
		return "the memory of bailiwick-sign", "it stays where it is"
	}
	if m := regexp.MustCompile(`^\s*{\s*"sign(?:ed|atures)":(?s:.*)"_type":\s*"([a-z]{1,16})"`).FindSubmatch(head); m != nil {
		return string(m[1]) + " metadata of a repository", "the request that asks for signatures of it is another file"
	}
	return "", ""
}

// refuseKind refuses a file of another kind than the one wanted, if it can be told; private keys stay the worse news.
func refuseKind(wanted string, head []byte) *Refused {
	kind, use := kindOf(head)
	switch {
	case kind == "" || kind == wanted:
		return nil
	case clean(head, 1) != nil:
		return refusePrivate("the file")
	}
	return refuse(Malformed, "", "this is not %s but %s; %s", wanted, kind, use)
}
