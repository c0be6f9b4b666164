#!/usr/bin/env bash
# ADIOS2 of the pinned version from source, with MPI, SST and Python and nothing else, into the
# folder adios2-mpi of an environment: for tests of streams that several ranks share. Some minutes.
set -euo pipefail
environment=$(cd "$1" && pwd)
constraints=$(realpath "$2")
built="$environment/adios2-mpi"
jobs=${JOBS:-2}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$(sed -n 's/^adios2==//p' "$constraints")
echo "Building ADIOS2 $version with MPI into $built"
"$environment/bin/python" -m pip download --disable-pip-version-check --quiet --no-deps \
  --no-build-isolation --no-binary adios2 --dest "$work" "adios2==$version"
mkdir "$work/source"
tar -xf "$work"/adios2-*.tar.gz -C "$work/source" --strip-components=1

off=()
for feature in BigWhoop Blosc2 BZip2 Caliper ZFP SZ SZ3 LIBPRESSIO MGARD PRODM PNG CUDA Kokkos DAOS \
  DataMan DataSpaces MHS ZeroMQ HDF5 HDF5_VOL IME Fortran SysVShMem UCX Profiling Sodium Catalyst \
  Campaign OpenSSL XRootD CURL; do
  off+=("-DADIOS2_USE_$feature=OFF")
done
export PATH="$environment/bin:$PATH"
cmake -S "$work/source" -B "$work/build" -G Ninja \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1 \
  -DCMAKE_INSTALL_PREFIX="$work/installed" -DCMAKE_INSTALL_LIBDIR=lib \
  -DCMAKE_INSTALL_RPATH="$built/lib;$environment/lib" \
  -DPython_ROOT_DIR="$environment" -DPython_FIND_VIRTUALENV=ONLY \
  -DMPI_C_COMPILER="$environment/bin/mpicc" -DMPI_CXX_COMPILER="$environment/bin/mpicxx" \
  -DADIOS2_USE_MPI=ON -DADIOS2_USE_SST=ON -DADIOS2_USE_Python=ON "${off[@]}" \
  -DADIOS2_BUILD_EXAMPLES=OFF -DBUILD_TESTING=OFF >"$work/log" 2>&1 || { tail -40 "$work/log"; exit 1; }
nice cmake --build "$work/build" --parallel "$jobs" >"$work/log" 2>&1 || { tail -40 "$work/log"; exit 1; }
cmake --install "$work/build" >/dev/null
rm -rf "$built"
mv "$work/installed" "$built"
