#!/bin/sh
# Shows a rank the GPUs of its seat, and becomes the program:
#
#   select_gpus.sh PALS_LOCAL_RANKID ZE_AFFINITY_MASK 0:1:2,3 PROGRAM ARGUMENTS…
#
# The first word names the variable that holds the rank among those of this launch on its node,
# the second the one that selects devices, the third the devices of each such rank, from 0 on.
local_rank_variable=$1
gpu_variable=$2
seats=$3
shift 3
eval "local_rank=\${$local_rank_variable:-}"
case $local_rank in
  '' | *[!0-9]*)
    echo "select_gpus.sh: $local_rank_variable is '$local_rank', and no rank: the launcher does" \
      "not set it; correct local_rank in the profile of the machine" >&2
    exit 64
    ;;
esac
gpus=$(printf '%s:' "$seats" | cut -d : -f $((local_rank + 1)))
if [ -z "$gpus" ]; then
  echo "select_gpus.sh: local rank $local_rank has no seat among $seats: more ranks were" \
    "started on this node than planned" >&2
  exit 64
fi
export "$gpu_variable=$gpus"
exec "$@"
