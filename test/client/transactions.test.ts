// Checks of the SDK's transactions: by our own front-end, whose clock the test moves.
import test, { type ExecutionContext } from 'ava'
import {
  type CheckTransaction,
  type Client,
  connect,
  type TransactionOutcome,
} from '../../src/client/index.ts'
import { REQUEST } from '../../src/remoting/codes.ts'
import { drain } from '../support/broker.ts'
import { startFakeRocketmq } from '../support/native/fake-rocketmq.ts'
import { type NativeFrontEnd, startFrontEnd } from '../support/native/native-front-end.ts'

const CHECK_MS = 31_000

async function client(
  t: ExecutionContext,
  { port }: NativeFrontEnd,
  checkTransaction: CheckTransaction,
): Promise<Client> {
  const producerGroup = 'shop'
  const mq = await connect({ broker: `127.0.0.1:${port}`, producerGroup, checkTransaction })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  return mq
}

/** A check, and what it was asked about. */
function checking(outcome: TransactionOutcome) {
  const asked: string[] = []
  let heard = () => {}
  const check: CheckTransaction = (message) => {
    asked.push(`${message.topic} ${message.text()} ${message.messageId}`)
    heard()
    return outcome
  }
  const once = new Promise<void>((resolve) => {
    heard = resolve
  })
  return { asked, check, once }
}

async function open(mq: Client): Promise<string> {
  const half = await mq.transaction({ topic: 'T', body: 'open' }, () => 'unknown')
  return half.messageId
}

const firstOf = async (mq: Client): Promise<string> =>
  (await mq.read({ topic: 'T', from: 'first' }).next()).value!.text()

async function passCheck(front: NativeFrontEnd): Promise<void> {
  front.clock.advance(CHECK_MS)
  await drain(front)
}

test('a broker asks what became of an open transaction, and is answered', async (t) => {
  const front = await startFrontEnd(t)
  const { asked, check, once } = checking('commit')
  const mq = await client(t, front, check)
  const id = await open(mq)
  await passCheck(front)
  await once
  t.is(await firstOf(mq), 'open')
  t.deepEqual(asked, [`T open ${id}`])
})

test('a client that has sent nothing answers for one that is gone', async (t) => {
  const front = await startFrontEnd(t)
  const before = checking('unknown')
  const gone = await client(t, front, before.check)
  const id = await open(gone)
  await gone.close()
  const { asked, check, once } = checking('commit')
  const mq = await client(t, front, check)
  await passCheck(front)
  await once
  t.is(await firstOf(mq), 'open')
  t.deepEqual(asked, [`T open ${id}`])
  t.deepEqual(before.asked, [])
})

test('a check that throws is told as an error, and leaves the transaction open', async (t) => {
  const front = await startFrontEnd(t)
  let calls = 0
  const mq = await client(t, front, () => {
    calls++
    if (calls === 1) throw new Error('no database')
    return 'commit'
  })
  const errors = mq.status()
  await open(mq)
  await passCheck(front)
  for await (const status of errors) {
    if (status.type !== 'error') continue
    t.is(status.error.message, 'no database')
    break
  }
  await passCheck(front)
  t.is(await firstOf(mq), 'open')
  t.is(calls, 2)
})

test('a check that says something else leaves the transaction open, and is told what is due', async (t) => {
  const front = await startFrontEnd(t)
  let said = undefined as unknown as TransactionOutcome
  const mq = await client(t, front, () => said)
  const errors = mq.status()
  await open(mq)
  await passCheck(front)
  for await (const status of errors) {
    if (status.type !== 'error') continue
    t.is(
      status.error.message,
      "checkTransaction said undefined; 'commit', 'rollback' or 'unknown' is due",
    )
    break
  }
  said = 'commit'
  await passCheck(front)
  t.is(await firstOf(mq), 'open')
})

test('a checkTransaction that is no function is refused by connect', async (t) => {
  const checkTransaction = 'commit' as unknown as CheckTransaction
  await t.throwsAsync(connect({ checkTransaction }), {
    message: "'checkTransaction' is no function",
  })
})

test('a commit that is not answered is not repeated, and leaves the transaction open', async (t) => {
  const fake = await startFakeRocketmq(t)
  fake.intercept(REQUEST.endTransaction, () => 'cut')
  const checkTransaction = () => 'unknown' as const
  const mq = await connect({ nameServers: fake.address, checkTransaction })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  const { state } = await mq.transaction({ topic: 'T', body: 'x' }, () => {})
  t.is(state, 'open')
  t.is(fake.requests.filter(({ code }) => code === REQUEST.endTransaction).length, 1)
})

test('a message of a transaction has no delay', async (t) => {
  const front = await startFrontEnd(t)
  const mq = await client(t, front, () => 'unknown')
  const message = { topic: 'T', body: 'x', delayMs: 1000 }
  await t.throwsAsync(
    mq.transaction(message, () => {}),
    { code: 'MESSAGE_INVALID' },
  )
})
