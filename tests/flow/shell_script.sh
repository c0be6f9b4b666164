#!/bin/sh
echo "$DOVETAIL_COMPONENT is rank $DOVETAIL_RANK of $DOVETAIL_SIZE with $*"
