// Links of AMQP clients.
import { useState } from 'preact/hooks'
import type { Page } from './api.js'
import { Choice, count, Field, Filters, Problem, Table, usePages } from './parts.js'

interface Link {
  readonly name: string
  readonly containerId: string
  readonly user?: string
  readonly remote: string
  readonly role: keyof typeof ROLES
  readonly address?: string
  readonly group?: string
  readonly credit: number
  readonly unsettled: number
}

const ROLES = {
  sender: 'sends',
  receiver: 'receives',
  coordinator: 'controls transactions',
} as const

const CHOICES = { '': 'does any of these', ...ROLES }

export function Amqp() {
  const [contains, setContains] = useState('')
  const [role, setRole] = useState<keyof typeof CHOICES>('')
  const { value, error, pager } = usePages<{ links: readonly Link[] } & Page>('amqp/links', {
    ...{ contains, role },
  })
  return (
    <section>
      <h1>AMQP links</h1>
      <Filters>
        <Field label="Container or link contains" value={contains} onInput={setContains} />
        <Choice label="The client" value={role} choices={CHOICES} onChange={setRole} />
      </Filters>
      <Problem error={error} />
      {value !== undefined && (
        <>
          <Table
            caption="Links by container"
            head={[
              ...['Container', 'Client', 'User', 'Link', 'The client', 'Address', 'Group'],
              ...['Credit', 'Unsettled'],
            ]}
            figures={[7, 8]}
            empty="No AMQP client has a link."
            rows={value.links.map((link) => [
              link.containerId,
              link.remote,
              link.user ?? '-',
              link.name,
              ROLES[link.role],
              link.address ?? '-',
              link.group ?? '-',
              count(link.credit),
              count(link.unsettled),
            ])}
          />
          {pager}
        </>
      )}
    </section>
  )
}
