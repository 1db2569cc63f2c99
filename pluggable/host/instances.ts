import type { Attributes } from '@opentelemetry/api'
import type { Logger } from 'pino'
import { ComponentError, toComponentError } from './errors.ts'
import type { KeptSettings } from './kept-settings.ts'
import type { Tracing } from './tracing.ts'

export type Closable = {
  /** What the spans of this instance's calls say about its database. */
  attributes?: Attributes
  close(): Promise<void>
}

export type OpenContext = {
  instance: string
  log: Logger
  tracing: Tracing | undefined
  /**
   * Where this instance may keep what it must know after a crash: a path to which a suffix is
   * added.
   */
  keptPath: string
}

/** How one kind of component is made from its metadata. */
export type ComponentDefinition<Settings, Instance extends Closable> = {
  /** Checks the metadata. Throws INVALID_SETTING. */
  parse(properties: Record<string, string>): Settings
  /**
   * Connects, makes the schema, starts what runs in the background. Throws STORE_UNAVAILABLE when
   * its server is away.
   */
  open(settings: Settings, context: OpenContext): Promise<Instance>
}

type Slot<Instance> = {
  properties: Record<string, string>
  opening: Promise<Instance>
  open: boolean
  attributes?: Attributes
  abandon(): void
}

export type Instances<Instance> = {
  /**
   * Init of one instance: a former instance of that name is closed first. Throws what `parse` and
   * `open` throw.
   */
  init(name: string, properties: Record<string, string>): Promise<void>
  /**
   * The instance, waiting a moment for one that is being opened. Throws NOT_INITIALISED or
   * STORE_UNAVAILABLE.
   */
  get(name: string): Promise<Instance>
  /**
   * Opens all instances whose settings were kept, each tried until it works or a new Init comes.
   */
  resume(): void
  /** Empty for an instance that is not open. */
  attributesOf(name: string): Attributes
  states(): { name: string; open: boolean }[]
  close(): Promise<void>
}

const retryAfterMs = 500
const waitForOpenMs = 1_500
/** daprd gives an Init 5 s unless its Component says otherwise. */
const initPatienceMs = 3_000

/**
 * The instances of one component process: daprd sends the Component's name with each call, so that
 * several Components of one type share a process.
 */
export function createInstances<Settings, Instance extends Closable>(
  definition: ComponentDefinition<Settings, Instance>,
  kept: KeptSettings,
  { keptPath, tracing }: { keptPath: (instance: string) => string; tracing?: Tracing | undefined },
  log: Logger,
): Instances<Instance> {
  const contextOf = (instance: string): OpenContext => ({
    instance,
    log: log.child({ component: instance }),
    tracing,
    keptPath: keptPath(instance),
  })
  const slots = new Map<string, Slot<Instance>>()
  // Inits of one name run one after the other: a second Init must not overtake the first one's
  // clean-up.
  let inits: Promise<unknown> = Promise.resolve()

  function start(
    name: string,
    properties: Record<string, string>,
    attempt: (isAbandoned: () => boolean) => Promise<Instance>,
  ) {
    let abandoned = false
    const slot: Slot<Instance> = {
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

  async function stop(slot: Slot<Instance>): Promise<void> {
    slot.abandon()
    const instance = await slot.opening.catch(() => undefined)
    await instance?.close().catch((error: unknown) => log.warn({ err: error }, 'closing an instance failed'))
  }

  /**
   * On a machine that is just starting everything at once a database may be slow before it is fast.
   */
  async function openPatiently(settings: Settings, context: OpenContext): Promise<Instance> {
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
      for (const [name, properties] of Object.entries(kept.load())) {
        const { log: childLog } = contextOf(name)
        start(name, properties, async (isAbandoned) => {
          for (let attempt = 1; ; attempt += 1) {
            try {
              const instance = await definition.open(definition.parse(properties), contextOf(name))
              childLog.info({ attempt }, 'carries on with kept settings')
              return instance
            } catch (thrown) {
              const error = toComponentError(thrown)
              if (error.code === 'INVALID_SETTING' || isAbandoned()) throw error
              if (attempt === 1) childLog.warn({ err: error }, 'cannot open yet, trying again')
              await new Promise((resolve) => setTimeout(resolve, retryAfterMs))
              if (isAbandoned()) throw error
            }
          }
        })
      }
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
