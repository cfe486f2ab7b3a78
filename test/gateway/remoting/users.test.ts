// Users and rights that are made at run time, by RocketMQ's requests over real sockets.
import test, { type ExecutionContext } from 'ava'
import { REQUEST, RESPONSE } from '../../../src/remoting/codes.ts'
import type { Command } from '../../../src/remoting/command.ts'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import { type JsonOut, jsonBody } from '../../../src/remoting/json/json-emitter.ts'
import { queueOf } from '../../support/broker.ts'
import {
  fields,
  heartbeat,
  type NativeFrontEnd,
  pull,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'

const NONE = { publish: [], consume: [], create: [] }
const USERS = {
  root: { ...NONE, admin: true, secretKey: 'secret of root' },
  fixed: {
    ...NONE,
    admin: false,
    secretKey: 'secret of fixed',
    publish: ['orders'],
    consume: ['b*'],
  },
}

interface Scene {
  readonly front: NativeFrontEnd
  readonly root: RemotingConnection
  as(name: string, secretKey: string): Promise<RemotingConnection>
  ask(code: number, values?: Record<string, string>, body?: JsonOut): Promise<Command>
}

async function open(t: ExecutionContext, front?: NativeFrontEnd): Promise<Scene> {
  const started = front ?? (await startFrontEnd(t, { users: USERS }))
  const as = (accessKey: string, secretKey: string): Promise<RemotingConnection> =>
    started.connect({ credentials: { accessKey, secretKey } })
  const root = await as('root', 'secret of root')
  if (front === undefined) await send(root, { topic: 'orders' })
  return {
    front: started,
    root,
    as,
    ask: (code, values = {}, body) =>
      root.request(code, {
        fields: fields(values),
        ...(body !== undefined && { body: jsonBody(body) }),
      }),
  }
}

const createKim = ({ ask }: Scene, more: Record<string, string> = {}): Promise<Command> =>
  ask(REQUEST.createUser, { username: 'kim' }, { password: 'kims password', ...more })

type Entry = readonly [resource: string, actions: string, decision?: string]

const allow = ({ ask }: Scene, entries: readonly Entry[], policyType = ''): Promise<Command> =>
  ask(
    REQUEST.updateAcl,
    { subject: 'User:kim' },
    {
      policies: [
        {
          policyType,
          entries: entries.map(([resource, actions, decision = 'Allow']) => ({
            ...{ resource, decision, actions: actions.split(',') },
          })),
        },
      ],
    },
  )

const jsonOf = ({ body }: Command): unknown =>
  body.length === 0 ? undefined : JSON.parse(body.toString())

const codeOf = async (answer: Promise<Command>): Promise<number> => (await answer).code

const asKim = (scene: Scene): Promise<RemotingConnection> => scene.as('kim', 'kims password')

test('a user that is made at run time signs, and may do what its entries say', async (t) => {
  const scene = await open(t)
  t.is((await createKim(scene)).code, RESPONSE.success)
  const kim = await asKim(scene)
  t.is(await codeOf(send(kim, { topic: 'orders' })), RESPONSE.noPermission)
  await allow(scene, [['Topic:ord*', 'Pub']])
  t.is(await codeOf(send(kim, { topic: 'orders' })), RESPONSE.success)
  t.is(await codeOf(pull(kim, { topic: 'orders', group: 'g' })), RESPONSE.noPermission)
  await allow(scene, [
    ['Topic:ord*', 'Pub,Sub'],
    ['Group:*', 'Sub'],
  ])
  t.not(await codeOf(pull(kim, { topic: 'orders', group: 'g' })), RESPONSE.noPermission)
})

test('a right that is taken away is gone with the next request of the same connection', async (t) => {
  const scene = await open(t)
  await createKim(scene)
  await allow(scene, [
    ['Topic:orders', 'Pub'],
    ['Topic:others', 'Pub'],
  ])
  const kim = await asKim(scene)
  t.is(await codeOf(send(kim, { topic: 'orders' })), RESPONSE.success)
  const orders = { subject: 'User:kim', resource: 'Topic:orders' }
  t.is(await codeOf(scene.ask(REQUEST.deleteAcl, orders)), RESPONSE.success)
  t.is(await codeOf(send(kim, { topic: 'orders' })), RESPONSE.noPermission)
})

test('a disabled user and a deleted one do not get in, and one made again has no rights', async (t) => {
  const scene = await open(t)
  await createKim(scene)
  await allow(scene, [['Topic:*', 'Pub']])
  const kim = await asKim(scene)
  const status = async (userStatus: string): Promise<number> => {
    await scene.ask(REQUEST.updateUser, { username: 'kim' }, { userStatus })
    return codeOf(send(kim, { topic: 'orders' }))
  }
  t.is(await status('disable'), RESPONSE.noPermission)
  t.is(await status('enable'), RESPONSE.success)
  await scene.ask(REQUEST.deleteUser, { username: 'kim' })
  t.is(await codeOf(send(kim, { topic: 'orders' })), RESPONSE.noPermission)
  await createKim(scene)
  t.is(await codeOf(send(kim, { topic: 'orders' })), RESPONSE.noPermission)
  t.is(jsonOf(await scene.ask(REQUEST.getAcl, { subject: 'User:kim' })), undefined)
})

test('a password that was changed signs no more', async (t) => {
  const scene = await open(t)
  await createKim(scene, { userType: 'Super' })
  const before = await asKim(scene)
  t.is(await codeOf(send(before, { topic: 'orders' })), RESPONSE.success)
  await scene.ask(REQUEST.updateUser, { username: 'kim' }, { password: 'another password' })
  t.is(await codeOf(send(before, { topic: 'orders' })), RESPONSE.noPermission)
  const after = await scene.as('kim', 'another password')
  t.is(await codeOf(send(after, { topic: 'orders' })), RESPONSE.success)
})

test('users and rights outlive a crash', async (t) => {
  const scene = await open(t)
  await createKim(scene)
  await allow(scene, [['Topic:orders', 'Pub']])
  const later = await open(t, await scene.front.crash())
  t.is(await codeOf(send(await asKim(later), { topic: 'orders' })), RESPONSE.success)
  t.like(jsonOf(await later.ask(REQUEST.getAcl, { subject: 'User:kim' })), {
    subject: 'User:kim',
    policies: [{ policyType: 'Custom' }],
  })
})

test('a user that is no admin sees and changes no users, whatever it is allowed', async (t) => {
  const scene = await open(t)
  await createKim(scene)
  await allow(scene, [['*', 'All']])
  const kim = await asKim(scene)
  const userType = jsonBody({ userType: 'Super' })
  const asked = { fields: fields({ username: 'kim' }), body: userType }
  t.is(await codeOf(kim.request(REQUEST.updateUser, asked)), RESPONSE.noPermission)
  t.is(await codeOf(kim.request(REQUEST.listUsers, {})), RESPONSE.noPermission)
})

test('users of the configuration are shown without their secrets, and changed there alone', async (t) => {
  const scene = await open(t)
  await createKim(scene)
  t.deepEqual(jsonOf(await scene.ask(REQUEST.listUsers)), [
    { username: 'fixed', userType: 'Normal', userStatus: 'enable' },
    { username: 'kim', password: 'kims password', userType: 'Normal', userStatus: 'enable' },
    { username: 'root', userType: 'Super', userStatus: 'enable' },
  ])
  t.like(jsonOf(await scene.ask(REQUEST.getAcl, { subject: 'User:fixed' })), {
    policies: [
      {
        entries: [
          // Written although it is empty: rocketmq-dashboard's list depends on it.
          { resource: 'Topic:orders', actions: ['Pub'], sourceIps: [], decision: 'Allow' },
          { resource: 'Topic:b*', actions: ['Sub', 'Get'] },
          { resource: 'Group:b*', actions: ['Sub', 'Get'] },
        ],
      },
    ],
  })
  for (const code of [REQUEST.createUser, REQUEST.updateUser, REQUEST.deleteUser]) {
    const answer = await scene.ask(code, { username: 'fixed' }, { password: 'taken over' })
    t.is(answer.code, RESPONSE.noPermission)
    t.regex(answer.remark ?? '', /one of the broker's configuration/)
  }
  const fixed = await scene.as('fixed', 'secret of fixed')
  t.is(await codeOf(send(fixed, { topic: 'orders' })), RESPONSE.success)
})

test('without users in the configuration no user is made, for no client would be asked for one', async (t) => {
  const front = await startFrontEnd(t)
  const connection = await front.connect()
  const asked = { fields: fields({ username: 'kim' }), body: jsonBody({ password: 'pw' }) }
  const answer = await connection.request(REQUEST.createUser, asked)
  t.is(answer.code, RESPONSE.noPermission)
  t.regex(answer.remark ?? '', /add an admin to `users` first/)
  t.deepEqual(jsonOf(await connection.request(REQUEST.listUsers, {})), [])
  t.deepEqual(jsonOf(await connection.request(REQUEST.listAcls, {})), [])
})

const closest: readonly (readonly [string, readonly Entry[], number])[] = [
  [
    'a name before its prefix',
    [
      ['Topic:orders', 'Pub'],
      ['Topic:ord*', 'Pub', 'Deny'],
    ],
    0,
  ],
  [
    'the longest prefix',
    [
      ['Topic:ord*', 'Pub'],
      ['Topic:o*', 'Pub', 'Deny'],
    ],
    0,
  ],
  [
    'a prefix before all',
    [
      ['Topic:o*', 'Pub', 'Deny'],
      ['Topic:*', 'Pub'],
    ],
    16,
  ],
  [
    'all of a kind before everything',
    [
      ['Topic:*', 'Pub', 'Deny'],
      ['*', 'All'],
    ],
    16,
  ],
  [
    'no entry of another action',
    [
      ['Topic:orders', 'Sub', 'Deny'],
      ['Topic:*', 'Pub'],
    ],
    0,
  ],
]
for (const [what, entries, code] of closest) {
  test(`the entry that names a resource most closely decides: ${what}`, async (t) => {
    const scene = await open(t)
    await createKim(scene)
    await allow(scene, entries)
    t.is(await codeOf(send(await asKim(scene), { topic: 'orders' })), code)
  })
}

test('default policies decide where no custom one does', async (t) => {
  const scene = await open(t)
  await createKim(scene)
  await allow(scene, [['Topic:orders', 'Pub']], 'Default')
  const kim = await asKim(scene)
  t.is(await codeOf(send(kim, { topic: 'orders' })), RESPONSE.success)
  await allow(scene, [['*', 'Pub', 'Deny']], 'Custom')
  t.is(await codeOf(send(kim, { topic: 'orders' })), RESPONSE.noPermission)
})

test('the right to change a group shows nothing of topics that may not be read', async (t) => {
  const scene = await open(t)
  await createKim(scene)
  await allow(scene, [['Group:own', 'All']])
  const kim = await asKim(scene)
  t.is(await codeOf(heartbeat(kim, 'c', [{ group: 'own' }])), RESPONSE.success)
  const sent = await send(scene.root, { topic: 'orders', body: Buffer.from('secret') })
  const group = { group: 'own', consumerGroup: 'own', clientId: 'c', topic: 'orders' }
  const asked = [
    [REQUEST.consumeMessageDirectly, { msgId: sent.fields.get('msgId')! }],
    [REQUEST.resetOffset, { timestamp: '0', isForce: 'true' }],
    [REQUEST.getConsumerOffsets, {}],
    [REQUEST.viewBrokerStats, { statsName: 'GROUP_GET_NUMS', statsKey: 'orders@own' }],
    [REQUEST.cloneGroupOffset, { srcGroup: 'own', destGroup: 'own' }],
    [REQUEST.cloneGroupOffset, { srcGroup: 'billing', destGroup: 'own', topic: '' }],
  ] as const
  for (const [code, values] of asked) {
    const answer = await kim.request(code, { fields: fields({ ...group, ...values }) })
    t.is(answer.code, RESPONSE.noPermission, `${code}: ${answer.remark}`)
  }
})

test('offsets are copied in the topics alone that may be read', async (t) => {
  const scene = await open(t)
  const { front, root, ask } = scene
  await createKim(scene)
  await allow(scene, [
    ['Group:*', 'All'],
    ['Topic:orders', 'Get'],
  ])
  await send(root, { topic: 'payments' })
  await heartbeat(root, 'r', [{ group: 'billing', topics: { orders: '*', payments: '*' } }])
  for (const topic of ['orders', 'payments']) {
    await ask(REQUEST.updateConsumerOffset, {
      ...{ consumerGroup: 'billing', topic, queueId: '0', commitOffset: '1' },
    })
  }
  const copy = fields({ srcGroup: 'billing', destGroup: 'own' })
  const kim = await asKim(scene)
  t.is(await codeOf(kim.request(REQUEST.cloneGroupOffset, { fields: copy })), RESPONSE.success)
  const { cursors } = front.broker
  t.is(await cursors.committed('own', queueOf('orders')), 1 as never)
  t.is(await cursors.committed('own', queueOf('payments')), undefined)
})

test('system topics are no part of what entries allow', async (t) => {
  const scene = await open(t)
  await createKim(scene)
  await allow(scene, [['*', 'All']])
  t.is(await codeOf(send(await asKim(scene), { topic: 'SCHEDULE_TOPIC_XXXX' })), 16)
})

const entry = (changed: object): JsonOut => ({
  policies: [
    { entries: [{ resource: 'Topic:a', actions: ['Pub'], decision: 'Allow', ...changed }] },
  ],
})
for (const [what, body, said] of [
  ['a source address', entry({ sourceIps: ['10.0.0.0/8'] }), /source addresses are not supported/],
  ['an unknown action', entry({ actions: ['Fly'] }), /'Fly' is none of All, Pub/],
  ['no action', entry({ actions: [] }), /no actions for 'Topic:a'/],
  ['a resource without its kind', entry({ resource: 'a' }), /write Topic:name/],
  ['an unknown kind of resource', entry({ resource: 'Moon:a' }), /'Moon' is none of Topic, Group/],
  ['no decision', entry({ decision: '' }), /the decision '' is none of Allow, Deny/],
  ['no policies', { policies: [] }, /without policies/],
] as const) {
  test(`an ACL with ${what} is refused whole`, async (t) => {
    const scene = await open(t)
    await createKim(scene)
    const answer = await scene.ask(REQUEST.createAcl, { subject: 'User:kim' }, body)
    t.is(answer.code, RESPONSE.invalidParameter)
    t.regex(answer.remark ?? '', said)
    t.deepEqual(jsonOf(await scene.ask(REQUEST.listAcls, { subjectFilter: 'kim' })), [])
  })
}

test('what is not there is answered as by Apache RocketMQ', async (t) => {
  const scene = await open(t)
  const lee = { username: 'lee', subject: 'User:lee' }
  const user = await scene.ask(REQUEST.getUser, lee)
  t.deepEqual([user.code, user.body.length], [RESPONSE.success, 0])
  t.is(await codeOf(scene.ask(REQUEST.deleteUser, lee)), RESPONSE.success)
  t.is(await codeOf(scene.ask(REQUEST.updateUser, lee, {})), RESPONSE.noPermission)
  t.is(await codeOf(scene.ask(REQUEST.getAcl, lee)), RESPONSE.noPermission)
  t.is(await codeOf(scene.ask(REQUEST.deleteAcl, lee)), RESPONSE.noPermission)
  t.is(await codeOf(scene.ask(REQUEST.createAcl, lee, entry({}))), RESPONSE.noPermission)
  await createKim(scene)
  t.is(await codeOf(createKim(scene)), RESPONSE.noPermission)
  t.is(await codeOf(scene.ask(REQUEST.createUser, lee, {})), RESPONSE.noPermission)
})
