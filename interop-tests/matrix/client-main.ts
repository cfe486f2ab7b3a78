// One client of the matrix in a process of its own: says what happens in lines of JSON on standard output and
// ends in order with its standard input.
import type { Addresses, Driver } from './driver.ts'
import { type ClientName, isWarmUp, KEYS_PER_PRODUCER, reportOf } from './sample.ts'

export type Task =
  | {
      readonly role: 'produce'
      readonly client: ClientName
      readonly at: Addresses
      readonly topic: string
      readonly count: number
    }
  | {
      readonly role: 'consume'
      readonly client: ClientName
      readonly at: Addresses
      readonly topic: string
      readonly group?: string
      readonly clientId: string
    }

/** While the broker is down a message is sent again and again. */
const RETRY_MS = 200
const SEND_MS_MAX = 10_000
/** A consumer that kept up would never see two messages of one key together, in whatever order. */
const BEHIND_MS = 2000

async function driverOf(client: ClientName): Promise<Driver> {
  switch (client) {
    case 'ali-ons':
      return (await import('./drivers/ali-ons.ts')).driver
    case 'mqtt3':
      return (await import('./drivers/mqtt.ts')).mqtt3
    case 'mqtt5':
      return (await import('./drivers/mqtt.ts')).mqtt5
    case 'rhea':
      return (await import('./drivers/rhea.ts')).driver
    case 'sdk':
      return (await import('./drivers/sdk.ts')).driver
  }
}

/** Of the machine, so that the members of a group can be compared. */
const nowUs = (): number => Number(process.hrtime.bigint() / 1000n)
const print = (event: object): void => void process.stdout.write(`${JSON.stringify(event)}\n`)
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A client that never answers must not hold up its lane. */
function inTime<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer')), SEND_MS_MAX)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Lanes side by side; within a lane the next message goes when the one before is acknowledged. */
async function produce(task: Task & { role: 'produce' }): Promise<void> {
  const { client: producer, count } = task
  const producing = await (await driverOf(producer)).openProducer(task.at, task.topic)
  print({ event: 'ready' })
  await new Promise((resolve) => process.stdin.once('data', resolve))
  const lanes = Array.from({ length: KEYS_PER_PRODUCER }, async (_, lane) => {
    for (let n = 0; n < count / KEYS_PER_PRODUCER; n++) {
      while (!(await isSent(() => producing.send({ producer, lane, n })))) await pause(RETRY_MS)
      print({ event: 'sent' })
    }
  })
  await Promise.all(lanes)
  print({ event: 'done' })
  await inTime(producing.close()).catch(() => {})
}

async function isSent(send: () => Promise<void>): Promise<boolean> {
  try {
    await inTime(send())
    return true
  } catch {
    return false
  }
}

async function consume(task: Task & { role: 'consume' }): Promise<void> {
  const driver = await driverOf(task.client)
  const consuming = await driver.openConsumer(task.at, {
    topic: task.topic,
    group: task.group,
    clientId: task.clientId,
    received: (message) => {
      const report = reportOf(message)
      if (!isWarmUp(report.id)) fallBehindOnce()
      print({ event: 'got', atUs: nowUs(), ...report })
    },
  })
  print({ event: 'ready' })
  await new Promise((resolve) => process.stdin.resume().once('end', resolve))
  await inTime(consuming.close()).catch(() => {})
}

let isBehind = false

/** The process stands still at its first message, so that a backlog comes after it. */
function fallBehindOnce(): void {
  if (isBehind) return
  isBehind = true
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BEHIND_MS)
}

const task = JSON.parse(process.argv[2]!) as Task
await (task.role === 'produce' ? produce(task) : consume(task))
process.exit(0)
