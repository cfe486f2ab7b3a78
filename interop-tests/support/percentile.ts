// Of times that were measured.

/** The smallest value that so many of them, as a share, are not above. */
export const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1]!
