! ranks_mpi_f08 URL: the ranks of a job read an array together, through `use mpi_f08`; each its part.
program ranks_mpi_f08
  use mpi_f08
  use dovetail
  implicit none
  character(1000) :: url
  integer :: rank, step_count
  integer :: mine(2, 1)
  type(MPI_Comm) :: comm
  type(dvt_reader) :: in
  type(dvt_step) :: step

  call MPI_Init()
  call MPI_Comm_dup(MPI_COMM_WORLD, comm)
  call MPI_Comm_rank(comm, rank)
  call get_command_argument(1, url)
  call in%open(url, comm=comm, timeout=60d0)
  step_count = 0
  do while (in%next(step))
    step_count = step_count + 1
    call step%read('u', mine, start=[0, rank])
    if (any(mine /= rank + step_count)) error stop 'another block'
  end do
  if (step_count /= 3) error stop 'steps are missing'
  call in%close()
  call MPI_Finalize()
  if (rank == 0) print '(a)', 'done'
end program ranks_mpi_f08
