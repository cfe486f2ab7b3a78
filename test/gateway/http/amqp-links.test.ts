// The links of AMQP clients, as the admin API tells of them.
import test from 'ava'
import { connectRhea } from '../../support/amqp/rhea-client.ts'
import { ask } from '../../support/http.ts'
import { startServer } from '../../support/server.ts'

type Json = Record<string, unknown>

test('links are told with node, group, credit and unsettled deliveries, page by page', async (t) => {
  const { port } = await startServer(t)
  const links = async (query = '') => {
    const { status, text } = await ask(port('http'), `/api/v1/amqp/links${query}`)
    t.is(status, 200, text)
    return JSON.parse(text) as Json & { links: readonly Json[] }
  }
  t.deepEqual(await links(), { links: [], total: 0 })
  const client = await connectRhea(t, port('amqp'), { container_id: 'till' })
  const sender = await client.sender({ name: 'out', target: 'orders' })
  await sender.send({ body: 'one' })
  await sender.send({ body: 'two' })
  const receiver = await client.receiver({ name: 'in', source: 'orders::billing' })
  receiver.credit(7)
  const { delivery } = await receiver.take()
  await receiver.take()
  const all = await links()
  t.is(all['total'], 2)
  const shown = all.links.map(({ connectionId: _, remote: __, ...link }) => link)
  t.deepEqual(shown, [
    {
      ...{ containerId: 'till', channel: 0, name: 'in', role: 'receiver' },
      ...{ address: 'orders::billing', group: 'billing', credit: 5, unsettled: 2 },
    },
    {
      ...{ containerId: 'till', channel: 0, name: 'out', role: 'sender', address: 'orders' },
      ...{ credit: shown[1]?.['credit'], unsettled: 0 },
    },
  ])
  t.true((shown[1]?.['credit'] as number) > 0)
  t.regex(String(all.links[0]?.['remote']), /^127\.0\.0\.1:\d+$/)
  const first = await links('?max=1')
  t.deepEqual([first['total'], first.links.map(({ name }) => name)], [2, ['in']])
  const after = encodeURIComponent(String(first['next']))
  const second = await links(`?max=1&after=${after}`)
  t.deepEqual([second['next'], second.links.map(({ name }) => name)], [undefined, ['out']])
  t.is((await links('?role=sender')).links[0]?.['name'], 'out')
  delivery!.accept()
  await sender.detach()
  t.is((await links('?role=sender'))['total'], 0)
  await client.close()
  t.is((await links())['total'], 0)
})
