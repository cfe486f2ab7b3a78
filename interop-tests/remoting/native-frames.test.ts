// Headers that clients might write otherwise than Java's does, sent to Apache RocketMQ 5.5.0 and to our server: the same
// answer, or none, but for what is named here.

import { RawPeer } from '../../test/support/peers/raw-peer.ts'
import { spawnServer } from '../../test/support/server.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { needing } from '../support/needing.ts'

const missing = await apacheRocketmqMissing()
const testBoth = needing('headers beside Apache RocketMQ', missing)

const END_OF_QUEUE = 30
const HEADER = {
  code: END_OF_QUEUE,
  extFields: { topic: 'TBW102', queueId: '0' },
  flag: 0,
  language: 'JAVA',
  opaque: 7,
  serializeTypeCurrentRPC: 'JSON',
  version: 493,
} as const

const changed = (values: object): string => JSON.stringify({ ...HEADER, ...values })
const without = (name: keyof typeof HEADER): string => changed({ [name]: undefined })
const fields = (values: object): string =>
  changed({ extFields: { ...HEADER.extFields, ...values } })

const HEADERS: Readonly<Record<string, string>> = {
  'as it should be': changed({}),
  'with blanks': JSON.stringify(HEADER, null, 2),
  'with an opaque of text': changed({ opaque: '7' }),
  'with a negative opaque': changed({ opaque: -7 }),
  'with an opaque beyond 32 bits': changed({ opaque: 2 ** 31 }),
  'with an opaque that is broken': changed({ opaque: 7.5 }),
  'without an opaque': without('opaque'),
  'with a code of text': changed({ code: String(END_OF_QUEUE) }),
  'without a code': without('code'),
  'without a flag': without('flag'),
  'without a language': without('language'),
  'with an unknown language': changed({ language: 'COBOL' }),
  'without a version': without('version'),
  'with a version of text': changed({ version: '493' }),
  'without fields': without('extFields'),
  'with fields that are null': changed({ extFields: null }),
  'with a field that is null': fields({ more: null }),
  'with a field that is a number': fields({ queueId: 0 }),
  'with a field that is an object': fields({ more: { a: 1 } }),
  'with a field that is no number': fields({ queueId: 'x' }),
  'with a field that is empty': fields({ queueId: '' }),
  'with further members': changed({ more: [1, { a: 'b' }] }),
  'with a remark': changed({ remark: 'why' }),
  'with a member twice': changed({}).replace('"flag":0', '"flag":0,"flag":0'),
  'in single quotes': changed({}).replaceAll('"', "'"),
  'that ends early': changed({}).slice(0, -1),
  'with bytes behind it': `${changed({})} x`,
  'that is a list': '[]',
  'that is a number': '7',
  'that is empty': '',
}

const PING = 99

function frameOf(header: string): Buffer {
  const bytes = Buffer.from(header)
  const prefix = Buffer.alloc(8)
  prefix.writeInt32BE(4 + bytes.length)
  prefix.writeInt32BE(bytes.length, 4)
  return Buffer.concat([prefix, bytes])
}

/**
 * The code and the opaque: 'closed' where nothing comes. What is answered to a request behind it is passed over, which
 * Apache may answer first.
 */
async function answerTo(port: number, header: string): Promise<string> {
  const peer = await RawPeer.connect(port)
  peer.send(frameOf(header), frameOf(changed({ opaque: PING })))
  for (;;) {
    const length = await peer.read(4)
    if (length.length < 4) return 'closed'
    const answer = await peer.read(length.readInt32BE())
    const text = answer.toString('utf8', 4, 4 + answer.readInt32BE())
    const { code, opaque } = JSON.parse(text) as { code: number; opaque: number }
    if (opaque === PING) continue
    peer.end()
    return `${code} to ${opaque === HEADER.opaque ? 'its opaque' : 'another'}`
  }
}

const UNREADABLE = ['1 to its opaque', '29 to its opaque'] as const
const REFUSED = ['0 to its opaque', 'closed'] as const

/** Apache's answer, and ours; docs/reference/compatibility.md says why. */
const DIFFERENCES: Readonly<Record<string, readonly [theirs: string, ours: string]>> = {
  'with an opaque that is broken': REFUSED,
  'with a field that is an object': REFUSED,
  'without fields': UNREADABLE,
  'with fields that are null': UNREADABLE,
  'with a field that is no number': UNREADABLE,
  'with a field that is empty': UNREADABLE,
}

testBoth('headers are answered as by Apache', async (t) => {
  t.timeout(400_000)
  await using apache = await startApacheRocketmq()
  const server = await spawnServer(t)
  const portOf = (address: string): number => Number(address.split(':')[1])
  for (const [name, header] of Object.entries(HEADERS)) {
    const theirs = await answerTo(portOf(apache.broker), header)
    const ours = await answerTo(portOf(server.address('remoting')), header)
    t.deepEqual([theirs, ours], [...(DIFFERENCES[name] ?? [theirs, theirs])], name)
  }
})
