#!/usr/bin/env bash
# Create or update .venv from a lock file, then install the checkout into it (editable). `make setup` calls this.
#   setup.sh default   the locked environment: on Linux, torch with CUDA
#   setup.sh cpu       the same without CUDA; torch and torchvision come from PyTorch's CPU index
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHON=${PYTHON:-python3}
TORCH=${1:-default}
READY=.venv/.ready
UV=requirements/uv
unset PYTHONPATH VIRTUAL_ENV CONDA_PREFIX

case $TORCH in
  default) LOCK=requirements/dev.lock ;;
  cpu) LOCK=requirements/dev-cpu.lock ;;
  *) echo "error: TORCH=$TORCH: unknown. Use TORCH=default or TORCH=cpu." >&2; exit 2 ;;
esac

# .ready is written last and stores a checksum of the inputs. Without it, or if the Python of .venv does not start, .venv
# is created again. Packages that an interrupted run has downloaded are still in the cache of uv.
state="$TORCH $(cat "$LOCK" pyproject.toml requirements/setup.sh | cksum)"
starts() { .venv/bin/python -c 'import encodings' 2>/dev/null; }
if [ -e "$READY" ] && starts && [ "$(cat "$READY")" = "$state" ]; then exit 0; fi

command -v "$PYTHON" >/dev/null || { echo "error: PYTHON=$PYTHON: not found. Set PYTHON to Python 3.11 or newer." >&2; exit 2; }
"$PYTHON" -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 15) else
  f"error: {sys.executable} is Python {v[0]}.{v[1]}. MedTune needs 3.11 to 3.14: make setup PYTHON=python3.13")' || exit 2

"$UV" --version >/dev/null
if ! [ -e "$READY" ] || ! starts; then
  [ ! -e .venv ] || echo "Replacing .venv: it is incomplete or its Python does not start"
  "$UV" venv --quiet --clear --python "$PYTHON" .venv
fi
rm -f "$READY"

size=$(awk -v lock="$(basename "$LOCK" .lock)" -v platform="$(uname -s)-$(uname -m)" \
  '$1 == lock && $2 == platform {print $3 " MB to download for a first installation"}' requirements/sizes.txt)
echo "Installing $(grep -c '^[a-z0-9].*==' "$LOCK") packages or fewer into .venv${size:+: $size}"
echo "After the download, compiling the packages' bytecode takes a minute or two"
"$UV" pip sync --require-hashes --compile-bytecode --python .venv/bin/python "$LOCK"
if [ "$TORCH" = cpu ]; then
  # The CPU index has other files of torch and torchvision, so the hashes of the lock do not apply to these two packages.
  read -r -d '' -a torch < <(grep -oE '^(torch|torchvision)==[^ ;]+' requirements/dev.lock) || true
  "$UV" pip install --no-deps --compile-bytecode --torch-backend cpu --python .venv/bin/python "${torch[@]}"
fi
"$UV" pip install --no-deps --no-build-isolation --python .venv/bin/python --editable .
mkdir -p .cache/prefect  # Prefect creates its folder but not the parent
echo "$state" > "$READY"
