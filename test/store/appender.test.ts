import test from 'ava'
import { draft } from '../conformance/store.ts'
import { startBroker } from '../support/broker.ts'

test('a group looks at each of its messages a few times, however many of them are facts', async (t) => {
  const { store } = await startBroker(t)
  let looks = 0
  const watched = { ...draft('T', 'a') }
  const { body } = watched
  Object.defineProperty(watched, 'body', {
    get: () => {
      looks++
      return body
    },
  })
  const messages = new Array<typeof watched>(1000).fill(watched)
  const facts = messages.map((_, message) => ({ kind: 'r', key: `${message}`, message }))
  await store.append({ messages, facts })
  t.true(looks < 10 * messages.length, `${looks} looks`)
})
