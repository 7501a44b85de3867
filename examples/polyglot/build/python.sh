# Builds the Python wheel and installs it into a virtual environment of this example.
set -eu
. "$(dirname "$0")/environment.sh"
[ -x "$out/venv/bin/python" ] || python3 -m venv "$out/venv"
"$out/venv/bin/python" -m pip install --quiet --disable-pip-version-check "maturin>=1.16,<2"
rm -rf "$out/wheels"
"$out/venv/bin/python" -m maturin build --profile "$profile" --quiet --manifest-path "$root/bindings-python/Cargo.toml" \
    --target-dir "$target/python" --out "$out/wheels"
"$out/venv/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall "$out"/wheels/*.whl
copo report "the Python wheel is built"
