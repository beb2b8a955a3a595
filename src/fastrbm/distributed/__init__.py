"""One model on several processes or machines, with the bits of one.

Every process holds its own rows and calls `fit`; the rows of the processes, in their order, are the data. Parameters
and what an optimiser keeps are on every process. Gradients of bits are sums of integers, which are exact in any order,
and draws go by the numbers of chains, so that the fitted model does not depend on how many processes there are.

The processes are those of an MPI communicator (``pip install "fastrbm[mpi]"``): ``mpirun -n 4 python script.py``.
`rehearse` runs the same script's function on threads of one process, without MPI.
"""

from .._kernels.ranks import RankError
from .blocks import map_rows
from .fitting import fit
from .mpi import MPIRanks
from .partition import log_partition
from .threads import rehearse

__all__ = ["MPIRanks", "RankError", "fit", "log_partition", "map_rows", "rehearse"]
