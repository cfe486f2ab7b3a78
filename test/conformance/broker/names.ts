// Names of a test's own: the broker is shared, and may be one that others use too.
let serial = 0

export const nameOf = (what: string): string => `${what}-${process.pid}-${++serial}`
