// Many requests, some at a time.
export const AT_A_TIME = 500

export const count = (length: number): number[] => Array.from({ length }, (_, at) => at)

export async function inBatches(
  length: number,
  work: (n: number) => Promise<unknown>,
): Promise<void> {
  for (let from = 0; from < length; from += AT_A_TIME) {
    await Promise.all(count(Math.min(AT_A_TIME, length - from)).map((at) => work(from + at)))
  }
}
