package app

// ResultOf is what an error of a Sender means.
var ResultOf = resultOf
