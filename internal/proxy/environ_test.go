package proxy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/bailiwick/internal/proxy"
)

const index = "http://127.0.0.1:8399/0123abcd/SECRETSECRETSECRET/simple/"

func TestEnviron(t *testing.T) {
	at := proxy.Endpoint{Index: index, Guard: "http://127.0.0.1:8399"}
	loopback := "127.0.0.1,localhost"
	tests := []struct {
		name    string
		tools   []proxy.Tool
		at      proxy.Endpoint
		environ []string
		want    []string
	}{
		{
			name: "pip: what leads elsewhere goes, what is harmless stays", tools: []proxy.Tool{proxy.Pip}, at: proxy.Endpoint{Index: index},
			environ: []string{
				"PATH=/bin", "PIP_INDEX_URL=https://other.example.com", "PIP_EXTRA_INDEX_URL=https://b", "PIP_FIND_LINKS=/opt/wheels",
				"PIP_NO_INDEX=1", "PIP_TRUSTED_HOST=127.0.0.1", "PIP_CONFIG_FILE=/home/x/pip.conf", "PIP_PROXY=http://p", "PIP_ISOLATED=1",
				"PIP_PYPI_URL=https://c", "PIP_NO_PROXY_ENV=1", "PIP_no_proxy_env=1", "PIP_DEFAULT_TIMEOUT=180", "PIP_CERT=/ca.pem",
			},
			want: []string{"PATH=/bin", "PIP_DEFAULT_TIMEOUT=180", "PIP_CERT=/ca.pem", "PIP_INDEX_URL=" + index, "PIP_CONFIG_FILE=" + os.DevNull},
		},
		{
			name: "pip: names in other spellings", tools: []proxy.Tool{proxy.Pip}, at: proxy.Endpoint{Index: index},
			environ: []string{"PIP_index_url=https://x", "PIP_Extra-Index_Url=https://y", "PIP_find_links=/z", "pip_index_url=not pip's"},
			want:    []string{"pip_index_url=not pip's", "PIP_INDEX_URL=" + index, "PIP_CONFIG_FILE=" + os.DevNull},
		},
		{
			name: "uv", tools: []proxy.Tool{proxy.UV}, at: proxy.Endpoint{Index: index},
			environ: []string{
				"UV_INDEX=https://a", "UV_EXTRA_INDEX_URL=https://b", "UV_FIND_LINKS=/c", "UV_DEFAULT_INDEX=https://d", "UV_CACHE_DIR=/cache",
				"UV_NO_INDEX=1", "UV_INDEX_CORP_USERNAME=u",
			},
			want: []string{"UV_CACHE_DIR=/cache", "UV_INDEX_CORP_USERNAME=u", "UV_DEFAULT_INDEX=" + index, "UV_INDEX_URL=" + index},
		},
		{
			name: "caches of their own", tools: []proxy.Tool{proxy.Pip, proxy.UV}, at: proxy.Endpoint{Index: index, Caches: "/home/x/c"},
			environ: []string{"UV_CACHE_DIR=/cache", "PIP_CACHE_DIR=/cache", "PIP_cache_dir=/cache", "PIP_NO_CACHE_DIR=1"},
			want: []string{
				"PIP_NO_CACHE_DIR=1", "PIP_INDEX_URL=" + index, "PIP_CONFIG_FILE=" + os.DevNull, "PIP_CACHE_DIR=" + filepath.Join("/home/x/c", "pip"),
				"UV_DEFAULT_INDEX=" + index, "UV_INDEX_URL=" + index, "UV_CACHE_DIR=" + filepath.Join("/home/x/c", "uv"),
			},
		},
		{
			name: "pdm, pipenv, poetry", tools: []proxy.Tool{proxy.PDM, proxy.Pipenv, proxy.Poetry}, at: proxy.Endpoint{Index: index},
			want: []string{
				"PDM_PYPI_URL=" + index, "PDM_IGNORE_STORED_INDEX=1", "PIPENV_PYPI_MIRROR=" + index, "POETRY_PYPI_MIRROR_URL=" + index,
			},
		},
		{
			name: "the guard", tools: []proxy.Tool{proxy.PDM}, at: at,
			environ: []string{"HTTPS_PROXY=http://corp:3128", "no_proxy=*", "UV_HTTPS_PROXY=http://corp:3128"},
			want: []string{
				"PDM_PYPI_URL=" + index, "PDM_IGNORE_STORED_INDEX=1",
				"HTTP_PROXY=" + at.Guard, "http_proxy=" + at.Guard, "HTTPS_PROXY=" + at.Guard, "https_proxy=" + at.Guard,
				"ALL_PROXY=" + at.Guard, "all_proxy=" + at.Guard, "NO_PROXY=" + loopback, "no_proxy=" + loopback,
				"GIT_ALLOW_PROTOCOL=file:http:https", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.proxy", "GIT_CONFIG_VALUE_0=" + at.Guard,
			},
		},
		{
			name: "sealed: loopback goes to the guard, too, and git keeps what it was told", tools: []proxy.Tool{proxy.PDM},
			at:      proxy.Endpoint{Index: index, Guard: at.Guard, Sealed: true},
			environ: []string{"NO_PROXY=*", "no_proxy=localhost", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=user.name", "GIT_CONFIG_VALUE_0=x", "GIT_ALLOW_PROTOCOL=ssh"},
			want: []string{
				"GIT_CONFIG_KEY_0=user.name", "GIT_CONFIG_VALUE_0=x",
				"PDM_PYPI_URL=" + index, "PDM_IGNORE_STORED_INDEX=1",
				"HTTP_PROXY=" + at.Guard, "http_proxy=" + at.Guard, "HTTPS_PROXY=" + at.Guard, "https_proxy=" + at.Guard,
				"ALL_PROXY=" + at.Guard, "all_proxy=" + at.Guard,
				"GIT_ALLOW_PROTOCOL=file:http:https", "GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_1=http.proxy", "GIT_CONFIG_VALUE_1=" + at.Guard,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := slices.Clone(tt.environ)
			if diff := cmp.Diff(tt.want, proxy.Environ(tt.environ, tt.at, tt.tools...)); diff != "" {
				t.Errorf("environment (-want +got):\n%s", diff)
			}
			if !slices.Equal(before, tt.environ) {
				t.Error("the environment given was changed")
			}
		})
	}
}

func TestEnvironForEverything(t *testing.T) {
	got := proxy.Environ([]string{"HOME=/root"}, proxy.Endpoint{Index: index, Guard: "http://127.0.0.1:8399"})
	for _, name := range []string{"HOME", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL", "PIPENV_PYPI_MIRROR", "POETRY_PYPI_MIRROR_URL", "HTTPS_PROXY"} {
		if !slices.ContainsFunc(got, func(kv string) bool { return strings.HasPrefix(kv, name+"=") }) {
			t.Errorf("lacks %s: %q", name, got)
		}
	}
}

func TestToolOf(t *testing.T) {
	tests := []struct {
		command string
		tool    proxy.Tool
		args    string
	}{
		{"pip install x", proxy.Pip, "install x"},
		{"/usr/bin/pip3.12 install x", proxy.Pip, "install x"},
		{"python -m pip install x", proxy.Pip, "install x"},
		{"python3.11 -I -m pip install x", proxy.Pip, "install x"},
		{"python -mpip install x", proxy.Pip, "install x"},
		{"python -Im pip install x", proxy.Pip, "install x"},
		{"python -IBmpip install x", proxy.Pip, "install x"},
		{"python -c m pip", "", ""},
		{"python -Xm pip", "", ""},
		{"uv pip install x", proxy.UV, "pip install x"},
		{"uvx ruff", proxy.UV, "tool run ruff"},
		{"python -m uv sync", proxy.UV, "sync"},
		{"poetry install", proxy.Poetry, "install"},
		{"pdm sync", proxy.PDM, "sync"},
		{"pipenv sync", proxy.Pipenv, "sync"},
		{"python script.py -m pip", "", ""},
		{"python", "", ""},
		{"pipx install x", "", ""},
		{"make test", "", ""},
	}
	for _, tt := range tests {
		tool, args, ok := proxy.ToolOf(strings.Fields(tt.command))
		if tool != tt.tool || strings.Join(args, " ") != tt.args || ok != (tt.tool != "") {
			t.Errorf("%s: %q %q %v, want %q %q", tt.command, tool, args, ok, tt.tool, tt.args)
		}
	}
	if _, _, ok := proxy.ToolOf(nil); ok {
		t.Error("no command is an installer")
	}
}

func TestOnlyInstalls(t *testing.T) {
	for command, want := range map[string]bool{
		"pip install run": true, "python -m pip download x": true,
		"uv pip install run": true, "uv sync": true, "uv --directory x lock": true, "uv add shell": true,
		"uv run pytest": false, "uv --offline run install": false, "uvx ruff": false, "uv tool run ruff": false,
		"poetry install": true, "poetry run pytest": false, "pipenv shell": false, "pdm update": true,
	} {
		tool, args, ok := proxy.ToolOf(strings.Fields(command))
		if got := ok && proxy.OnlyInstalls(tool, args); got != want {
			t.Errorf("%s: %v, want %v", command, got, want)
		}
	}
}
