import type { Attributes } from '@opentelemetry/api'
import type { Logger } from '#lib/logger.ts'
import { ComponentError, toComponentError } from './errors.ts'
import type { KeptSettings } from './kept-settings.ts'
import type { Tracing } from './tracing.ts'

export type Closable = {
  /** What the spans of this Component's calls say about its database. */
  attributes?: Attributes
  close(): Promise<void>
}

export type OpenContext = {
  /** The Component's name, `metadata.name` in its YAML. */
  component: string
  log: Logger
  tracing: Tracing | undefined
  /** Where this Component may keep what it needs after a crash: a path to add a suffix to. */
  keptPath: string
}

/** How a Component of one type is opened from its metadata. */
export type ComponentDefinition<Settings, Component extends Closable> = {
  /** Checks the metadata. Throws INVALID_SETTING. */
  parse(properties: Record<string, string>): Settings
  /**
   * Connects, migrates the schema, starts background work. Throws STORE_UNAVAILABLE when the
   * database server is down.
   */
  open(settings: Settings, context: OpenContext): Promise<Component>
}

type Slot<Component> = {
  properties: Record<string, string>
  opening: Promise<Component>
  open: boolean
  attributes?: Attributes
  abandon(): void
}

export type Components<Component> = {
  /**
   * Opens a Component; an earlier one of that name is closed first. Throws what `parse` and `open`
   * throw.
   */
  init(name: string, properties: Record<string, string>): Promise<void>
  /**
   * Returns a Component, waiting a moment for one that is being opened. Throws NOT_INITIALISED or
   * STORE_UNAVAILABLE.
   */
  get(name: string): Promise<Component>
  /**
   * Opens every Component whose settings were kept. Each is retried until it opens or a new Init
   * arrives.
   */
  resume(): void
  /** Empty for a Component that is not open. */
  attributesOf(name: string): Attributes
  states(): { name: string; open: boolean }[]
  close(): Promise<void>
}

const retryAfterMs = 500
const waitForOpenMs = 1_500
/** daprd gives an Init 5 s unless the Component says otherwise. */
const initPatienceMs = 3_000

/**
 * Creates the Components of one process, by name. daprd sends the name with each call in
 * `x-component-instance`, so several Components of one type can share a process.
 */
export function createComponents<Settings, Component extends Closable>(
  definition: ComponentDefinition<Settings, Component>,
  kept: KeptSettings,
  { keptPath, tracing }: { keptPath: (name: string) => string; tracing?: Tracing | undefined },
  log: Logger,
): Components<Component> {
  const contextOf = (name: string): OpenContext => ({
    component: name,
    log: log.child({ component: name }),
    tracing,
    keptPath: keptPath(name),
  })
  const slots = new Map<string, Slot<Component>>()
  // Inits run one at a time: a second Init of a name must not overtake the first one's clean-up.
  let inits: Promise<unknown> = Promise.resolve()

  function start(
    name: string,
    properties: Record<string, string>,
    attempt: (isAbandoned: () => boolean) => Promise<Component>,
  ) {
    let abandoned = false
    const slot: Slot<Component> = {
      properties,
      open: false,
      abandon: () => {
        abandoned = true
      },
      opening: attempt(() => abandoned),
    }
    slots.set(name, slot)
    slot.opening.then(
      ({ attributes }) => {
        slot.open = true
        slot.attributes = attributes ?? {}
      },
      () => {},
    )
    return slot
  }

  async function stop(slot: Slot<Component>): Promise<void> {
    slot.abandon()
    const component = await slot.opening.catch(() => undefined)
    await component?.close().catch((error: unknown) => log.warn({ err: error }, 'closing a component failed'))
  }

  /** Opens, retrying for a moment: a database may be slow while a whole machine is starting. */
  async function openPatiently(settings: Settings, context: OpenContext): Promise<Component> {
    const end = Date.now() + initPatienceMs
    for (;;) {
      try {
        return await definition.open(settings, context)
      } catch (thrown) {
        const error = toComponentError(thrown)
        if (error.code !== 'STORE_UNAVAILABLE' || error.lasting || Date.now() > end) throw error
        await new Promise((resolve) => setTimeout(resolve, 200))
      }
    }
  }

  /** Opens with kept settings. Retries until that works, they are invalid, or `isAbandoned`. */
  async function reopen(
    name: string,
    properties: Record<string, string>,
    isAbandoned: () => boolean,
  ): Promise<Component> {
    const context = contextOf(name)
    for (let attempt = 1; ; attempt += 1) {
      try {
        const component = await definition.open(definition.parse(properties), context)
        context.log.info({ attempt }, 'resumed with kept settings')
        return component
      } catch (thrown) {
        const error = toComponentError(thrown)
        if (error.code === 'INVALID_SETTING' || isAbandoned()) throw error
        if (attempt === 1) context.log.warn({ err: error }, 'cannot open yet, retrying')
        await new Promise((resolve) => setTimeout(resolve, retryAfterMs))
        if (isAbandoned()) throw error
      }
    }
  }

  async function init(name: string, properties: Record<string, string>): Promise<void> {
    const settings = definition.parse(properties)
    const former = slots.get(name)
    if (former) {
      slots.delete(name)
      await stop(former)
    }
    const slot = start(name, properties, () => openPatiently(settings, contextOf(name)))
    try {
      await slot.opening
    } catch (error) {
      if (slots.get(name) === slot) slots.delete(name)
      throw error
    }
    kept.save(Object.fromEntries([...slots].map(([key, each]) => [key, each.properties])))
    log.info({ component: name }, 'initialised')
  }

  return {
    init(name, properties) {
      const turn = inits.then(() => init(name, properties))
      inits = turn.catch(() => {})
      return turn
    },

    async get(name) {
      const slot = slots.get(name)
      if (!slot) throw new ComponentError('NOT_INITIALISED', `component "${name}" has not been initialised`)
      if (slot.open) return slot.opening
      let timer: NodeJS.Timeout | undefined
      const tooLong = new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(new ComponentError('STORE_UNAVAILABLE', `component "${name}" is still connecting`)),
          waitForOpenMs,
        )
      })
      return Promise.race([slot.opening, tooLong]).finally(() => clearTimeout(timer))
    },

    resume() {
      for (const [name, properties] of Object.entries(kept.load()))
        start(name, properties, (isAbandoned) => reopen(name, properties, isAbandoned))
    },

    attributesOf: (name) => slots.get(name)?.attributes ?? {},

    states: () => [...slots].map(([name, slot]) => ({ name, open: slot.open })),

    async close() {
      const all = [...slots.values()]
      slots.clear()
      await Promise.all(all.map(stop))
    },
  }
}
