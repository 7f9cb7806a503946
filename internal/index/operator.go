package index

// controlID stands for a token where somebody acts who needed none, because they hold the data folder.
const controlID = "control"

// serverID stands for a token where the server itself opened a request.
const serverID = "server"

// Operator is whoever holds the data folder of the index, and so needs no token: for requests that come
// in over the control socket, and nothing else.
func (x *Index) Operator() Actor { return Actor{id: controlID, right: RightOperator} }

// MayOperate reports whether the actor may do what operators do.
func (a Actor) MayOperate() bool { return a.id != "" && a.right == RightOperator }
