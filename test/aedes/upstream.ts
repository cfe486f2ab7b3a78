// Upstream's abstract suites are written for node:test: what they use of its context, over ava.
import assert from 'node:assert'
import test from 'ava'

interface Context {
  readonly assert: typeof assert
  plan(count: number): void
  fail(message?: string): void
  diagnostic(message: string): void
}

export type UpstreamTest = (title: string, body: (t: Context) => unknown) => void

/** `what` begins the titles, for upstream has two of one title. */
export function upstreamTest(what: string): UpstreamTest {
  const titles = new Map<string, number>()
  return (title, body) => {
    const count = (titles.get(title) ?? 0) + 1
    titles.set(title, count)
    test.serial(`${what}: ${title}${count > 1 ? ` (${count})` : ''}`, async (t) => {
      let planned: number | undefined
      let made = 0
      const counting = new Proxy(assert, {
        get(target, name) {
          const one = Reflect.get(target, name) as (...given: unknown[]) => unknown
          if (typeof one !== 'function') return one
          return (...given: unknown[]) => {
            made++
            return one(...given)
          }
        },
      })
      await body({
        assert: counting,
        plan: (count) => {
          planned = count
        },
        fail: (message) => t.fail(message),
        diagnostic: () => {},
      })
      t.is(made, planned ?? made)
    })
  }
}
