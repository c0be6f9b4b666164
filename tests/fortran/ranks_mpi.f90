! ranks_mpi URL: the ranks of a job write the blocks of one array, through `use mpi`.
program ranks_mpi
  use mpi
  use dovetail
  implicit none
  character(1000) :: url
  integer :: rank, ranks, error, step
  type(dvt_writer) :: out

  call MPI_Init(error)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, error)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, error)
  call get_command_argument(1, url)
  call out%open(url, comm=MPI_COMM_WORLD, timeout=60d0)
  do step = 1, 3
    call out%begin()
    call out%put('u', reshape([rank + step, rank + step], [2, 1]), shape=[2, ranks], start=[0, rank])
    call out%end()
  end do
  call out%close()
  call MPI_Finalize(error)
  if (rank == 0) print '(a)', 'done'
end program ranks_mpi
