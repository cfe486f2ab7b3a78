// Transactions through the SDK.
import test from 'ava'
import { type MakeClient, type MakeTopic, nameOf } from './support.ts'

export function transactions(client: MakeClient, topic: MakeTopic): void {
  test('a message is there once its transaction is committed, and never when the work fails', async (t) => {
    const checkTransaction = () => 'unknown' as const
    const mq = await client(t, { checkTransaction, producerGroup: nameOf('pg') })
    const name = await topic(mq, 1)
    const failed = mq.transaction({ topic: name, body: 'failed' }, () => {
      throw new RangeError('no stock')
    })
    await t.throwsAsync(failed, { instanceOf: RangeError, message: 'no stock' })
    const undone = await mq.transaction({ topic: name, body: 'undone' }, () => 'rollback')
    t.is(undone.state, 'rolled-back')
    const open = await mq.transaction({ topic: name, body: 'open' }, () => 'unknown')
    t.is(open.state, 'open')
    const work: string[] = []
    const done = await mq.transaction(
      { topic: name, body: 'done', tag: 'paid', keys: ['order-1'] },
      async (half) => {
        const { minOffset, maxOffset } = (await mq.queues(name))[0]!
        work.push(`${half.messageId} ${maxOffset - minOffset}`)
      },
    )
    t.is(done.state, 'committed')
    t.deepEqual(work, [`${done.messageId} 0`])
    const { value } = await mq.read({ topic: name, from: 'first' }).next()
    t.is(value!.text(), 'done')
    t.is(value!.messageId, done.messageId)
    t.is(value!.tag, 'paid')
    t.deepEqual([...value!.properties], [])
  })

  test('a transaction without an answer to checks is refused', async (t) => {
    const mq = await client(t)
    const message = { topic: await topic(mq), body: 'never' }
    await t.throwsAsync(
      mq.transaction(message, () => {}),
      { code: 'ARGUMENT_INVALID' },
    )
  })
}
