"""What the processes of a crew do, one file a way of moving data.

Each has functions that are called with a seat and the arguments of a scene, and give the
operations that this seat plays (:data:`dovetail.bench.transports.worker.Part`). Operations of one
name do the same work, whatever moves the data:

============  =================================================================================
one way       each consumer rank has its share of a step, and answers by a step of the same size;
              half of the round trip
delivered     steps flow; each consumer rank takes its share of each into its hands
put           each producer replaces the value of a key of its own
get           each consumer reads the value of a key of its own
handed over   a value goes to a consumer that waits for it, and comes back; half of the round trip
gathered      each producer puts a value and says so; one consumer takes all of them
loaded        many files go into a store, each under its name
============  =================================================================================
"""
