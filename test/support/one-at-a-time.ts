// Of the tests that share a process, one runs at a time, as if each had it for itself. Imported by
// the files that together.config.js writes.
import test from 'ava'

let before: Promise<void> = Promise.resolve()

interface Turn {
  over(): void
}

test.beforeEach(async (t) => {
  const mine = before
  before = new Promise((resolve) => {
    t.context = { over: resolve } satisfies Turn
  })
  await mine
})
test.afterEach.always((t) => (t.context as Turn).over())
