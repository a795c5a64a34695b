package manifest

// nativeSeparators could lead out of the tree when a name becomes a path here.
const nativeSeparators = `\:`
