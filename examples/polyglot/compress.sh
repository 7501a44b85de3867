# Packs every CSV file but the newest, which the archive still writes.
set -eu
cd "$1"
packed=0
newest=$(ls -1 ./*.csv 2>/dev/null | tail -n 1)
for file in ./*.csv; do
    [ -e "$file" ] && [ "$file" != "$newest" ] || continue
    gzip -f "$file"
    packed=$((packed + 1))
done
copo report "$packed files packed"
