// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// Answers several questions about one block in one round trip.
contract Wrapper {
    function callWithDetails(address target, bytes calldata data)
        external
        returns (uint256, uint256, uint256, uint256, bytes memory)
    {
        bytes memory result = _call(target, data);
        return (block.chainid, block.number, block.timestamp, msg.sender.balance, result);
    }

    function multiCall(address[] calldata targets, bytes[] calldata data) public returns (bytes[] memory results) {
        require(targets.length == data.length, "as many calls as targets");
        results = new bytes[](targets.length);
        for (uint256 i = 0; i < targets.length; ++i) {
            results[i] = _call(targets[i], data[i]);
        }
    }

    function multiCallWithDetails(address[] calldata targets, bytes[] calldata data)
        external
        returns (uint256, uint256, uint256, uint256, bytes[] memory)
    {
        bytes[] memory results = multiCall(targets, data);
        return (block.chainid, block.number, block.timestamp, msg.sender.balance, results);
    }

    function _call(address target, bytes calldata data) private returns (bytes memory) {
        (bool ok, bytes memory result) = target.call(data);
        require(ok, "call failed");
        return result;
    }
}
