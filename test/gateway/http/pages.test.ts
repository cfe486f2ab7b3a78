// Long lists of the admin API, page by page.
import test from 'ava'
import { UserStore } from '../../../src/access/user-store.ts'
import { systemClock } from '../../../src/clock.ts'
import { BrokerError } from '../../../src/errors.ts'
import type { ApiQuestion } from '../../../src/gateway/http/api/endpoint.ts'
import { type PageQuery, readablePage } from '../../../src/gateway/http/api/pages.ts'

function asked(): ApiQuestion<PageQuery, unknown> {
  const auth = new UserStore({}, systemClock)
  const query = { after: '', max: 10, contains: undefined }
  const question = { query, principal: auth.anonymous(), context: { auth, clock: systemClock } }
  return question as unknown as ApiQuestion<PageQuery, unknown>
}

const ALL = ['a', 'b', 'c'].map((name) => ({ name }))

for (const code of ['TOPIC_NOT_FOUND', 'GROUP_NOT_FOUND'] as const) {
  test(`what goes while a page is gathered is left out of it (${code})`, async (t) => {
    const { page } = await readablePage(asked(), 'group', ALL, async ({ name }) => {
      if (name === 'b') throw new BrokerError(code, 'it is gone')
      return name
    })
    t.deepEqual(page, ['a', 'c'])
  })
}

test('a page that cannot be gathered fails', async (t) => {
  const gathering = readablePage(asked(), 'group', ALL, async () => {
    throw new BrokerError('BUSY', 'later')
  })
  await t.throwsAsync(gathering, { code: 'BUSY' })
})
