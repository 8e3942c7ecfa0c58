#!/usr/bin/env bash
# Replaces `pip install -e ~/raysweep` on a test host: use the packages of this machine, and raysweep
# from the copy that `ray up` brought. Usage: install.sh PYTHON SITE_PACKAGES
set -euo pipefail
test -x ~/venv/bin/python || "$1" -m venv --without-pip ~/venv
site=$(~/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
printf '%s\n%s\n' "$HOME/raysweep" "$2" > "$site/shared.pth"
for entry in ray:ray.scripts.scripts raysweep:raysweep.cli; do
  printf '#!%s\nimport sys\nfrom %s import main\nsys.exit(main())\n' \
    "$HOME/venv/bin/python" "${entry#*:}" > "$HOME/venv/bin/${entry%%:*}"
  chmod +x "$HOME/venv/bin/${entry%%:*}"
done
