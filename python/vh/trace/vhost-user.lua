-- SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
-- vhost-user for Wireshark and tshark, of the recordings that vhctl trace --pcapng makes.
-- Made by ./run regen from the message table of libvh (bindings/vhost-user.lua.in); do not edit.
-- tshark -X lua_script:vhost-user.lua -r FILE

local FRONT_END = {
	[1] = {name = "GET_FEATURES", payload = "NONE", reply = "U64"},
	[2] = {name = "SET_FEATURES", payload = "U64"},
	[3] = {name = "SET_OWNER", payload = "NONE"},
	[4] = {name = "RESET_OWNER", payload = "NONE"},
	[5] = {name = "SET_MEM_TABLE", payload = "MEM_TABLE"},
	[6] = {name = "SET_LOG_BASE", payload = "LOG", reply = "LOG"},
	[7] = {name = "SET_LOG_FD", payload = "NONE"},
	[8] = {name = "SET_VRING_NUM", payload = "VRING_STATE"},
	[9] = {name = "SET_VRING_ADDR", payload = "VRING_ADDR"},
	[10] = {name = "SET_VRING_BASE", payload = "VRING_STATE"},
	[11] = {name = "GET_VRING_BASE", payload = "VRING_STATE", reply = "VRING_STATE"},
	[12] = {name = "SET_VRING_KICK", payload = "VRING_FD"},
	[13] = {name = "SET_VRING_CALL", payload = "VRING_FD"},
	[14] = {name = "SET_VRING_ERR", payload = "VRING_FD"},
	[15] = {name = "GET_PROTOCOL_FEATURES", payload = "NONE", reply = "U64"},
	[16] = {name = "SET_PROTOCOL_FEATURES", payload = "U64"},
	[17] = {name = "GET_QUEUE_NUM", payload = "NONE", reply = "U64"},
	[18] = {name = "SET_VRING_ENABLE", payload = "VRING_STATE"},
	[19] = {name = "SEND_RARP", payload = "U64"},
	[20] = {name = "NET_SET_MTU", payload = "U64"},
	[21] = {name = "SET_BACKEND_REQ_FD", payload = "NONE"},
	[22] = {name = "IOTLB_MSG", payload = "IOTLB", reply = "U64"},
	[23] = {name = "SET_VRING_ENDIAN", payload = "VRING_STATE"},
	[24] = {name = "GET_CONFIG", payload = "CONFIG", reply = "CONFIG"},
	[25] = {name = "SET_CONFIG", payload = "CONFIG"},
	[26] = {name = "CREATE_CRYPTO_SESSION", payload = "CRYPTO", reply = "CRYPTO"},
	[27] = {name = "CLOSE_CRYPTO_SESSION", payload = "U64"},
	[28] = {name = "POSTCOPY_ADVISE", payload = "NONE", reply = "NONE"},
	[29] = {name = "POSTCOPY_LISTEN", payload = "NONE"},
	[30] = {name = "POSTCOPY_END", payload = "NONE", reply = "U64"},
	[31] = {name = "GET_INFLIGHT_FD", payload = "INFLIGHT", reply = "INFLIGHT"},
	[32] = {name = "SET_INFLIGHT_FD", payload = "INFLIGHT"},
	[33] = {name = "GPU_SET_SOCKET", payload = "NONE"},
	[34] = {name = "RESET_DEVICE", payload = "NONE"},
	[35] = {name = "VRING_KICK", payload = "VRING_STATE"},
	[36] = {name = "GET_MAX_MEM_SLOTS", payload = "NONE", reply = "U64"},
	[37] = {name = "ADD_MEM_REG", payload = "MEM_REG"},
	[38] = {name = "REM_MEM_REG", payload = "MEM_REG"},
	[39] = {name = "SET_STATUS", payload = "U64"},
	[40] = {name = "GET_STATUS", payload = "NONE", reply = "U64"},
	[41] = {name = "GET_SHARED_OBJECT", payload = "UUID", reply = "UUID"},
	[42] = {name = "SET_DEVICE_STATE_FD", payload = "DEVICE_STATE", reply = "U64"},
	[43] = {name = "CHECK_DEVICE_STATE", payload = "NONE", reply = "U64"},
	[44] = {name = "GET_SHMEM_CONFIG", payload = "NONE", reply = "SHMEM_CONFIG"},
	[45] = {name = "GET_VRING_BASE_SKIP_DRAIN", payload = "VRING_STATE", reply = "VRING_STATE"},
}

local BACK_END = {
	[1] = {name = "IOTLB_MSG", payload = "IOTLB"},
	[2] = {name = "CONFIG_CHANGE_MSG", payload = "NONE"},
	[3] = {name = "VRING_HOST_NOTIFIER_MSG", payload = "VRING_AREA"},
	[4] = {name = "VRING_CALL", payload = "VRING_STATE"},
	[5] = {name = "VRING_ERR", payload = "VRING_STATE"},
	[6] = {name = "SHARED_OBJECT_ADD", payload = "UUID"},
	[7] = {name = "SHARED_OBJECT_REMOVE", payload = "UUID"},
	[8] = {name = "SHARED_OBJECT_LOOKUP", payload = "UUID", reply = "U64"},
	[9] = {name = "SHMEM_MAP", payload = "MMAP"},
	[10] = {name = "SHMEM_UNMAP", payload = "MMAP"},
}

local GPU = {
	[1] = {name = "GPU_GET_PROTOCOL_FEATURES", payload = "GPU_GET_PROTOCOL_FEATURES", reply = "U64"},
	[2] = {name = "GPU_SET_PROTOCOL_FEATURES", payload = "GPU_SET_PROTOCOL_FEATURES"},
	[3] = {name = "GPU_GET_DISPLAY_INFO", payload = "GPU_GET_DISPLAY_INFO", reply = "NONE"},
	[4] = {name = "GPU_CURSOR_POS", payload = "GPU_CURSOR_POS"},
	[5] = {name = "GPU_CURSOR_POS_HIDE", payload = "GPU_CURSOR_POS_HIDE"},
	[6] = {name = "GPU_CURSOR_UPDATE", payload = "GPU_CURSOR_UPDATE"},
	[7] = {name = "GPU_SCANOUT", payload = "GPU_SCANOUT"},
	[8] = {name = "GPU_UPDATE", payload = "GPU_UPDATE"},
	[9] = {name = "GPU_DMABUF_SCANOUT", payload = "GPU_DMABUF_SCANOUT"},
	[10] = {name = "GPU_DMABUF_UPDATE", payload = "GPU_DMABUF_UPDATE", reply = "NONE"},
	[11] = {name = "GPU_GET_EDID", payload = "GPU_GET_EDID", reply = "NONE"},
	[12] = {name = "GPU_DMABUF_SCANOUT2", payload = "GPU_DMABUF_SCANOUT2"},
}

-- Payloads: field, offset, bytes, type, whether it is shown as hex.
local KINDS = {
	NONE = {},
	U64 = {{"value", 0, 8, "uint64", true}},
	VRING_FD = {{"value", 0, 8, "uint64", true}},
	VRING_STATE = {{"index", 0, 4, "uint32"}, {"num", 4, 4, "uint32"}},
	VRING_ADDR = {{"index", 0, 4, "uint32"}, {"flags", 4, 4, "uint32", true}, {"desc", 8, 8, "uint64", true}, {"used", 16, 8, "uint64", true}, {"avail", 24, 8, "uint64", true}, {"log", 32, 8, "uint64", true}},
	MEM_REG = {{"padding", 0, 8, "uint64"}, {"gpa", 8, 8, "uint64", true}, {"size", 16, 8, "uint64"}, {"uva", 24, 8, "uint64", true}, {"offset", 32, 8, "uint64", true}},
	LOG = {{"mmap_size", 0, 8, "uint64"}, {"mmap_offset", 8, 8, "uint64", true}},
	IOTLB = {{"iova", 0, 8, "uint64", true}, {"size", 8, 8, "uint64"}, {"uva", 16, 8, "uint64", true}, {"perm", 24, 1, "uint8"}, {"type", 25, 1, "uint8"}},
	VRING_AREA = {{"u64", 0, 8, "uint64", true}, {"size", 8, 8, "uint64"}, {"offset", 16, 8, "uint64", true}},
	INFLIGHT = {{"mmap_size", 0, 8, "uint64"}, {"mmap_offset", 8, 8, "uint64", true}, {"num_queues", 16, 2, "uint16"}, {"queue_size", 18, 2, "uint16"}},
	UUID = {{"uuid", 0, 16, "bytes"}},
	DEVICE_STATE = {{"direction", 0, 4, "uint32"}, {"phase", 4, 4, "uint32"}},
	MMAP = {{"shmid", 0, 1, "uint8"}, {"fd_offset", 8, 8, "uint64", true}, {"shm_offset", 16, 8, "uint64", true}, {"len", 24, 8, "uint64"}, {"flags", 32, 8, "uint64", true}},
	CRYPTO = {{"op_code", 0, 8, "uint64"}, {"session", 8, 1056, "bytes"}, {"session_id", 1064, 8, "int64"}},
	MEM_TABLE = {{"n", 0, 4, "uint32"}, {"padding", 4, 4, "uint32"}},
	CONFIG = {{"offset", 0, 4, "uint32", true}, {"size", 4, 4, "uint32"}, {"flags", 8, 4, "uint32", true}},
	SHMEM_CONFIG = {{"n", 0, 4, "uint32"}, {"padding", 4, 4, "uint32"}},
	REGION = {{"gpa", 0, 8, "uint64", true}, {"size", 8, 8, "uint64"}, {"uva", 16, 8, "uint64", true}, {"offset", 24, 8, "uint64", true}},
	GPU_GET_PROTOCOL_FEATURES = {},
	GPU_SET_PROTOCOL_FEATURES = {{"value", 0, 8, "uint64", true}},
	GPU_GET_DISPLAY_INFO = {},
	GPU_CURSOR_POS = {{"scanout_id", 0, 4, "uint32"}, {"x", 4, 4, "uint32"}, {"y", 8, 4, "uint32"}},
	GPU_CURSOR_POS_HIDE = {{"scanout_id", 0, 4, "uint32"}, {"x", 4, 4, "uint32"}, {"y", 8, 4, "uint32"}},
	GPU_CURSOR_UPDATE = {{"scanout_id", 0, 4, "uint32"}, {"x", 4, 4, "uint32"}, {"y", 8, 4, "uint32"}, {"hot_x", 12, 4, "uint32"}, {"hot_y", 16, 4, "uint32"}},
	GPU_SCANOUT = {{"scanout_id", 0, 4, "uint32"}, {"width", 4, 4, "uint32"}, {"height", 8, 4, "uint32"}},
	GPU_UPDATE = {{"scanout_id", 0, 4, "uint32"}, {"x", 4, 4, "uint32"}, {"y", 8, 4, "uint32"}, {"width", 12, 4, "uint32"}, {"height", 16, 4, "uint32"}},
	GPU_DMABUF_SCANOUT = {{"scanout_id", 0, 4, "uint32"}, {"x", 4, 4, "uint32"}, {"y", 8, 4, "uint32"}, {"width", 12, 4, "uint32"}, {"height", 16, 4, "uint32"}, {"fd_width", 20, 4, "uint32"}, {"fd_height", 24, 4, "uint32"}, {"fd_stride", 28, 4, "uint32"}, {"fd_flags", 32, 4, "uint32"}, {"fd_fourcc", 36, 4, "uint32"}},
	GPU_DMABUF_UPDATE = {{"scanout_id", 0, 4, "uint32"}, {"x", 4, 4, "uint32"}, {"y", 8, 4, "uint32"}, {"width", 12, 4, "uint32"}, {"height", 16, 4, "uint32"}},
	GPU_GET_EDID = {{"scanout_id", 0, 4, "uint32"}},
	GPU_DMABUF_SCANOUT2 = {{"scanout_id", 0, 4, "uint32"}, {"x", 4, 4, "uint32"}, {"y", 8, 4, "uint32"}, {"width", 12, 4, "uint32"}, {"height", 16, 4, "uint32"}, {"fd_width", 20, 4, "uint32"}, {"fd_height", 24, 4, "uint32"}, {"fd_stride", 28, 4, "uint32"}, {"fd_flags", 32, 4, "uint32"}, {"fd_fourcc", 36, 4, "uint32"}, {"modifier", 40, 8, "uint64"}},
}

local FEATURES = {
	[24] = "NOTIFY_ON_EMPTY",
	[26] = "LOG_ALL",
	[27] = "ANY_LAYOUT",
	[28] = "RING_INDIRECT_DESC",
	[29] = "RING_EVENT_IDX",
	[30] = "PROTOCOL_FEATURES",
	[32] = "VERSION_1",
	[33] = "ACCESS_PLATFORM",
	[34] = "RING_PACKED",
	[35] = "IN_ORDER",
	[36] = "ORDER_PLATFORM",
	[37] = "SR_IOV",
	[38] = "NOTIFICATION_DATA",
	[39] = "NOTIF_CONFIG_DATA",
	[40] = "RING_RESET",
	[41] = "ADMIN_VQ",
}

local PROTOCOL_FEATURES = {
	[0] = "MQ",
	[1] = "LOG_SHMFD",
	[2] = "RARP",
	[3] = "REPLY_ACK",
	[4] = "MTU",
	[5] = "BACKEND_REQ",
	[6] = "CROSS_ENDIAN",
	[7] = "CRYPTO_SESSION",
	[8] = "PAGEFAULT",
	[9] = "CONFIG",
	[10] = "BACKEND_SEND_FD",
	[11] = "HOST_NOTIFIER",
	[12] = "INFLIGHT_SHMFD",
	[13] = "RESET_DEVICE",
	[14] = "INBAND_NOTIFICATIONS",
	[15] = "CONFIGURE_MEM_SLOTS",
	[16] = "STATUS",
	[17] = "XEN_MMAP",
	[18] = "SHARED_OBJECT",
	[19] = "DEVICE_STATE",
	[20] = "GET_VRING_BASE_INFLIGHT",
	[21] = "GPA_ADDRESSES",
	[22] = "SHMEM",
	[23] = "GET_VRING_BASE_SKIP_DRAIN",
}

local CHANNELS = {[0] = FRONT_END, BACK_END, GPU}
-- Messages whose value is a set of feature bits.
local BITS = {[1] = FEATURES, [2] = FEATURES, [15] = PROTOCOL_FEATURES, [16] = PROTOCOL_FEATURES}
local FD_KINDS = {[0] = "other", "memfd", "file", "eventfd", "socket", "pipe", "device", "userfaultfd"}
local REPLY, NEED_REPLY = 4, 8
local LATE, BIG = 1, 2 -- bits of the second byte
local HEADER = 12 -- of a message
local HEAD = 28 -- of what vhctl trace writes before it

local proto = Proto("vhostuser", "vhost-user")
local f = {
	conn = ProtoField.uint32("vhostuser.connection", "Connection"),
	number = ProtoField.uint32("vhostuser.number", "Number"),
	channel = ProtoField.uint8("vhostuser.channel", "Channel", base.DEC, {[0] = "main", [1] = "back-end", [2] = "gpu"}),
	sender = ProtoField.uint8("vhostuser.sender", "Sender", base.DEC, {[0] = "front-end", [1] = "back-end"}),
	reply_to = ProtoField.uint32("vhostuser.reply_to", "Reply to"),
	latency = ProtoField.uint64("vhostuser.latency", "Latency (ns)"),
	fd = ProtoField.string("vhostuser.fd", "File descriptor"),
	violation = ProtoField.string("vhostuser.violation", "Violation"),
	rule = ProtoField.string("vhostuser.rule", "Rule"),
	request = ProtoField.uint32("vhostuser.request", "Request"),
	name = ProtoField.string("vhostuser.name", "Name"),
	flags = ProtoField.uint32("vhostuser.flags", "Flags", base.HEX),
	version = ProtoField.uint32("vhostuser.flags.version", "Version", base.DEC, nil, 3),
	reply = ProtoField.bool("vhostuser.flags.reply", "Reply", 32, nil, REPLY),
	need_reply = ProtoField.bool("vhostuser.flags.need_reply", "Need reply", 32, nil, NEED_REPLY),
	size = ProtoField.uint32("vhostuser.length", "Payload size"),
	status = ProtoField.uint64("vhostuser.status", "Status"),
	bit = ProtoField.string("vhostuser.feature", "Feature"),
	data = ProtoField.bytes("vhostuser.data", "Data"),
}
-- One Wireshark field for a name and a width, whichever payloads have it.
local of_payload = {}
local all = {}
for _, field in pairs(f) do
	all[#all + 1] = field
end
for _, fields in pairs(KINDS) do
	for _, d in ipairs(fields) do
		local key = d[1] .. d[3] .. d[4]
		if not of_payload[key] then
			local show = d[4] ~= "bytes" and (d[5] and base.HEX or base.DEC) or nil
			of_payload[key] = ProtoField[d[4]]("vhostuser." .. d[1] .. (of_payload[d[1]] and d[3] * 8 or ""), d[1], show)
			of_payload[d[1]] = true
			all[#all + 1] = of_payload[key]
		end
	end
end
proto.fields = all
local wrong = ProtoExpert.new("vhostuser.expert.error", "the specification forbids this", expert.group.PROTOCOL,
	expert.severity.ERROR)
local odd = ProtoExpert.new("vhostuser.expert.warning", "the specification forbids this", expert.group.PROTOCOL,
	expert.severity.WARN)
proto.experts = {wrong, odd}

-- Adds a field to a tree in the byte order of the recording; its value as a number or a UInt64.
local function add(tree, field, range, little)
	if little then
		return tree:add_le(field, range)
	end
	return tree:add(field, range)
end

local function number(range, little)
	if range:len() == 8 then
		return little and range:le_uint64() or range:uint64()
	end
	return little and range:le_uint() or range:uint()
end

local function add_fds(tree, buf, at, count, little)
	local names = {}
	for _ = 1, count do
		local name = FD_KINDS[buf(at, 1):uint()] or "other"
		local size = number(buf(at + 8, 8), little)
		if name == "memfd" or name == "file" then
			name = name .. " of " .. tostring(size) .. " bytes"
		end
		tree:add(f.fd, buf(at, 16), name)
		names[#names + 1] = name
		at = at + 16
	end
	return at, names
end

local function add_violations(tree, buf, at, count, little)
	local rules = {}
	for _ = 1, count do
		local size = number(buf(at, 2), little)
		local parts = {}
		for part in (buf(at + 2, size):raw() .. "\0"):gmatch("(.-)%z") do
			parts[#parts + 1] = part
		end
		local text = (parts[2] or "") .. ": " .. (parts[4] or "") .. " (specification: " .. (parts[3] or "") .. ")"
		local item = tree:add(f.violation, buf(at, 2 + size), text)
		item:add(f.rule, buf(at + 2, size), parts[2] or "")
		item:add_proto_expert_info(parts[1] == "error" and wrong or odd, text)
		rules[#rules + 1] = parts[2]
		at = at + 2 + size
	end
	return at, rules
end

-- The fields of a payload that are there; how far they reach, and name=value of each.
local function add_fields(tree, kind, buf, at, stop, little)
	local said, reached = {}, at
	for _, d in ipairs(KINDS[kind] or {}) do
		local from = at + d[2]
		if from + d[3] <= stop then
			local range = buf(from, d[3])
			add(tree, of_payload[d[1] .. d[3] .. d[4]], range, little)
			if d[4] ~= "bytes" and d[1] ~= "padding" then
				local value = number(range, little)
				said[#said + 1] = d[1] .. "=" .. (d[5] and "0x" .. (d[3] == 8 and value:tohex():gsub("^0+(.)", "%1")
					or string.format("%x", value)) or tostring(value))
			end
			reached = from + d[3]
		end
	end
	return reached, said
end

local function add_bits(tree, names, range, little)
	local value = number(range, little)
	local said = {}
	for bit = 0, 63 do
		if value:rshift(bit):band(1) == UInt64(1) then
			local name = names[bit] or "bit " .. bit
			tree:add(f.bit, range, name)
			said[#said + 1] = name
		end
	end
	return table.concat(said, " ")
end

local function add_payload(tree, row, request, reply, channel, buf, at, little)
	local stop = buf:len()
	local size = stop - at
	if size == 0 then
		return ""
	end
	local kind = row and row.payload
	if reply then
		kind = row and row.reply
		if not kind then
			add(tree, f.status, buf(at, math.min(8, size)), little)
			return size >= 8 and number(buf(at, 8), little) == UInt64(0) and "ok" or "refused"
		end
	end
	local reached, said = add_fields(tree, kind, buf, at, stop, little)
	if channel == 0 and BITS[request] and size == 8 then
		return add_bits(tree, BITS[request], buf(at, 8), little)
	end
	if kind == "MEM_TABLE" then
		local n = size >= 4 and number(buf(at, 4), little) or 0
		local each = n > 0 and (size - 8) / n == 40 and 40 or 32
		for i = 0, n - 1 do
			if reached + 32 > stop then
				break
			end
			local region = tree:add(buf(reached, 32), "region " .. i)
			local _, text = add_fields(region, "REGION", buf, reached, stop, little)
			said[#said + 1] = "(" .. table.concat(text, " ") .. ")"
			reached = math.min(reached + each, stop)
		end
	end
	if reached < stop then
		tree:add(f.data, buf(reached, stop - reached))
	end
	return table.concat(said, " ")
end

local function add_message(tree, pinfo, buf, at, channel, little)
	local request = number(buf(at, 4), little)
	local flags = number(buf(at + 4, 4), little)
	local row = (CHANNELS[channel] or {})[request]
	local name = row and row.name or "unknown " .. request
	add(tree, f.request, buf(at, 4), little):append_text(" (" .. name .. ")")
	tree:add(f.name, buf(at, 4), name):set_generated()
	local item = add(tree, f.flags, buf(at + 4, 4), little)
	for _, field in ipairs({f.version, f.reply, f.need_reply}) do
		add(item, field, buf(at + 4, 4), little)
	end
	add(tree, f.size, buf(at + 8, 4), little)
	local is_reply = bit.band(flags, REPLY) ~= 0
	local text = add_payload(tree, row, request, is_reply, channel, buf, at + HEADER, little)
	local info = name .. (is_reply and " reply" or "") .. (text ~= "" and " " .. text or "")
	return bit.band(flags, NEED_REPLY) ~= 0 and info .. " need_reply" or info
end

function proto.dissector(buf, pinfo, root)
	if buf:len() < HEAD then
		return 0
	end
	local bits = buf(1, 1):uint()
	local little = bit.band(bits, BIG) == 0
	local size = number(buf(26, 2), little)
	local sender, channel = buf(2, 1):uint(), buf(3, 1):uint()
	pinfo.cols.protocol = "vhost-user"
	pinfo.cols.src = sender == 0 and "front-end" or "back-end"
	pinfo.cols.dst = sender == 0 and "back-end" or "front-end"
	local tree = root:add(proto, buf())
	local about = tree:add(buf(0, size), "As traced")
	add(about, f.conn, buf(4, 4), little)
	add(about, f.number, buf(8, 4), little)
	about:add(f.sender, buf(2, 1))
	about:add(f.channel, buf(3, 1))
	local reply_to = number(buf(12, 4), little)
	if reply_to ~= 0 then
		add(about, f.reply_to, buf(12, 4), little)
		add(about, f.latency, buf(16, 8), little)
	end
	local at, fds = add_fds(tree, buf, HEAD, buf(24, 1):uint(), little)
	local _, rules = add_violations(tree, buf, at, buf(25, 1):uint(), little)
	local info = "violations of " .. number(buf(8, 4), little)
	if bit.band(bits, LATE) == 0 and buf:len() >= size + HEADER then
		info = add_message(tree, pinfo, buf, size, channel, little)
	end
	if #fds > 0 then
		info = info .. " fds: " .. table.concat(fds, ", ")
	end
	if #rules > 0 then
		info = info .. " !! " .. table.concat(rules, ", ")
	end
	pinfo.cols.info = info
	return buf:len()
end
