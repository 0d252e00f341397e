# What the commands of a page mean in the sandbox. Everything that isn't here is real: bash itself, cp, curl, globs, &&.
#   SNIPPETS=check     a training, a test or a measurement is taken apart and checked, and not run
#   SNIPPETS=rehearse  it is run: two steps of every stage, on a corpus of seconds
# The models that pages name (openai/whisper-base, Qwen/...) lie in a cache of the hub, tiny and random; see sandbox.py.
set -euo pipefail

ask() { "$SNIPPETS_PYTHON" -I -S "$SNIPPETS_CLIENT" "$@"; } # a Python command, in a process that has everything imported
python() { ask python "$@"; }
speech-xl() {
    if [ "$1" = serve ] && [ "${2-}" != --help ]; then
        ask speech-xl "$@" --port "$SNIPPETS_PORT" & # a page's server goes on while its other blocks run
        for _ in $(seq 150); do
            command curl -sf "http://127.0.0.1:$SNIPPETS_PORT/health" > /dev/null && return
            sleep 0.2
        done
        echo "the server didn't answer" >&2
        return 1
    fi
    ask speech-xl "$@"
}
pip() { ask pip "$@"; }                # nothing is installed: what is asked for must stand in pyproject.toml
docker() { ask docker "$@"; }          # no daemon: the Dockerfile's own tests are in tests/test_dockerfile.py
uvx() { ask uvx "$@"; }                # nothing is fetched: the command behind --from must exist
tensorboard() { test "$1" = --logdir && test -d "$2"; }
zensical() { test "$1" = serve || test "$1" = build; } # tests/test_docs_site.py builds the site
jupytext() { command "$SNIPPETS_PYTHON" -m jupytext "$@"; }
pytest() { :; }                        # this is pytest
curl() { command curl -sS --fail-with-body "${@//127.0.0.1:8000/127.0.0.1:$SNIPPETS_PORT}"; }
