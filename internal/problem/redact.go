package problem

import "strings"

const hidden = "***"

// Redact returns text without the secrets that URLs and headers in it carry:
// user information ("https://user:password@host"), the values of query
// parameters that are named like a secret, and what follows "Basic", "Bearer" or
// "Token". Error texts of HTTP clients quote whole URLs, so everything that
// reaches a log, a terminal or an answer passes through here.
func Redact(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		i := strings.IndexAny(text, " \t\r\n\"'<>`")
		word, rest := text, ""
		if i >= 0 {
			word, rest = text[:i], text[i:]
		}
		b.WriteString(redactURL(word))
		if rest == "" {
			break
		}
		b.WriteByte(rest[0])
		text = rest[1:]
		if isScheme(word) && rest[0] == ' ' {
			text = skipCredentials(&b, text)
		}
	}
	return b.String()
}

func isScheme(word string) bool {
	for _, scheme := range []string{"Basic", "Bearer", "Token"} {
		if strings.EqualFold(word, scheme) {
			return true
		}
	}
	return false
}

// skipCredentials hides the next word if it can be a credential and is not
// prose: "Basic authentication" stays as it is.
func skipCredentials(b *strings.Builder, text string) string {
	end := strings.IndexAny(text, " \t\r\n\"'<>`,;)")
	if end < 0 {
		end = len(text)
	}
	if end < 6 {
		return text
	}
	tail := text[1:end] // prose has capitals at the beginning of a word only
	if end < 16 && !strings.ContainsAny(tail, "=0123456789") && tail == strings.ToLower(tail) {
		return text
	}
	b.WriteString(hidden)
	return text[end:]
}

// redactURL hides the secrets of one word, which may be a URL or hold one.
func redactURL(word string) string {
	if scheme, rest, ok := strings.Cut(word, "://"); ok {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		if at := strings.LastIndexByte(rest[:end], '@'); at >= 0 {
			rest = hidden + rest[at:]
		}
		word = scheme + "://" + rest
	}
	query := strings.IndexByte(word, '?')
	if query < 0 {
		return word
	}
	fields := strings.Split(word[query+1:], "&")
	for i, field := range fields {
		name, value, ok := strings.Cut(field, "=")
		if !ok || value == "" || !isSecretName(name) {
			continue
		}
		fields[i] = name + "=" + hidden
		if hash := strings.IndexByte(value, '#'); hash >= 0 {
			fields[i] += value[hash:]
		}
	}
	return word[:query+1] + strings.Join(fields, "&")
}

func isSecretName(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"token", "secret", "password", "passwd", "key", "sig", "auth", "cred", "session", "jwt"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return name == "code" || name == "state" || name == "pass" || name == "pwd"
}
